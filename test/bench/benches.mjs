// The benches that `npm run bench` runs, in the order in which they are shown.

/**
 * @typedef {object} Bench
 * @property {string} name
 * @property {string} title of its picture
 * @property {string} about what a bar means, and what ratios refer to
 * @property {string} script beside this file; it takes options, images as LAYOUT:TAG, and --json
 * @property {number} images how many images it takes at most
 * @property {string[]} short options of a run that is over soon
 * @property {string[]} needs programs without which it cannot run
 * @property {boolean} root whether it needs root
 * @property {string[]} programs whose versions are told: names in VERSIONS
 */

/** @type {Bench[]} */
export const BENCHES = [
  {
    name: 'startup',
    title: 'Start of a container, nothing of its image on the machine',
    about:
      'Seconds from the command to the first line of output; ratios to pulling and unpacking it with containerd',
    script: 'startup.mjs',
    images: Number.POSITIVE_INFINITY,
    short: ['--rounds', '1'],
    needs: ['docker-registry', 'containerd', 'ctr', 'runc'],
    root: true,
    programs: ['containerd', 'nydusd', 'runc'],
  },
  {
    name: 'convert',
    title: 'Converting an image, from a registry to a registry',
    about: 'Seconds; ratios to nydusify. mkfs.erofs is given the unpacked files and sends nothing',
    script: 'convert.mjs',
    images: Number.POSITIVE_INFINITY,
    short: [],
    needs: ['docker-registry'],
    root: false,
    programs: ['nydusify', 'mkfs.erofs'],
  },
  {
    name: 'mount',
    title: 'Reading a mounted image whose data is local',
    about: 'Seconds with cold and warm page cache; ratios to the same files in a directory',
    script: 'mount.mjs',
    images: 1,
    short: ['--runs', '1', '--large-size', '64'],
    needs: ['tar', 'find'],
    root: true,
    programs: ['nydusd'],
  },
  {
    name: 'registry',
    title: 'Pushing, pulling and copying an image',
    about: 'Seconds; ratios to skopeo',
    script: 'registry-copy.mjs',
    images: 1,
    short: ['--rounds', '1'],
    needs: ['docker-registry', 'skopeo'],
    root: false,
    programs: ['skopeo'],
  },
  {
    name: 'p2p',
    title: 'Start of a container through Dragonfly',
    about: 'Seconds from the command to the first line of output; ratios to rafter without Dragonfly',
    script: 'p2p.mjs',
    images: 1,
    short: ['--rounds', '1'],
    needs: ['docker-registry', 'runc', 'scheduler', 'dfdaemon'],
    root: true,
    programs: ['dfdaemon', 'nydusd', 'runc'],
  },
  {
    name: 'scale',
    title: 'A thousand starts at once, by a model of Dragonfly',
    about:
      'Seconds until half of the nodes are ready, as the requests of one recorded start make the model say',
    script: 'scale.mjs',
    images: 1,
    short: [],
    needs: ['docker-registry', 'runc'],
    root: true,
    programs: ['runc'],
  },
];
