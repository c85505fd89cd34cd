import { isRafterError, isTemporaryNetwork } from '../errors.js';
