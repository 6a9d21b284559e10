// The folder of a decision log that a command is given.
import { statSync } from 'node:fs'
import { PdpError } from '../errors.ts'

/** Where a service started in this folder writes. */
export const defaultLog = '.verdict/decisions'

/** @throws PdpError ERR_USAGE */
export function mustBeLog(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return
  throw new PdpError('ERR_USAGE', `there is no log at \`${folder}\`: name the folder \`decisions\` in the state of a service`)
}
