// Files that commands are given, with errors that name them.
import { readFile, writeFile } from 'node:fs/promises'
import { PdpError } from '../errors.ts'

/** @throws PdpError ERR_FILE */
export function readInput(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: Error) => {
    throw new PdpError('ERR_FILE', `\`${file}\` cannot be read: ${cause.message}`, { cause })
  })
}

/** @throws PdpError ERR_FILE */
export function writeOutput(file: string, content: string | Uint8Array): Promise<void> {
  return writeFile(file, content).catch((cause: Error) => {
    throw new PdpError('ERR_FILE', `\`${file}\` cannot be written: ${cause.message}`, { cause })
  })
}
