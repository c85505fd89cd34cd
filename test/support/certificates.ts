import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export interface CertificateFiles {
  cert: string;
  key: string;
}

/**
 * Makes `<name>.crt` and `<name>.key` in `directory` with openssl: a certificate authority, or a certificate for 127.0.0.1,
 * localhost and registry.test that `signer` has signed.
 */
export function makeCertificate(
  directory: string,
  name: string,
  signer?: CertificateFiles,
): CertificateFiles {
  const files = { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) };
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const request = ['req', '-x509', ...curve, '-nodes', '-days', '2', '-subj', `/CN=rafter test ${name}`];
  const signing = signer === undefined ? [] : ['-CA', signer.cert, '-CAkey', signer.key];
  const names =
    signer === undefined ? [] : ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test'];
  execFileSync('openssl', [...request, ...signing, ...names, '-keyout', files.key, '-out', files.cert], {
    stdio: 'pipe',
  });
  return files;
}
