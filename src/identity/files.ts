// What is read from files that others write: with errors that name them, and again when they change, where what cannot be used
// leaves what was there.
import { readFileSync } from 'node:fs'
import { PdpError, toPdpError } from '../errors.ts'
import { KeySet } from './key-set.ts'

/**
 * @param where the setting that names the file
 * @throws PdpError ERR_CONFIG_INVALID
 */
export function readText(file: string, where: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `${where}: \`${file}\` cannot be read: ${(cause as Error).message}`, { cause })
  }
}

/** @throws PdpError ERR_CONFIG_INVALID */
export function readKeySet(file: string, use: 'sig' | 'jwt-svid', where: string): KeySet {
  const text = readText(file, where)
  try {
    return new KeySet(text, use)
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `${where}: \`${file}\`: ${(cause as Error).message}`, { cause })
  }
}

/**
 * Replaces parts, each by itself, so that one that cannot be used does not keep back the others.
 * @param onFailure told of each that failed
 * @returns whether all could be replaced
 */
export function replaceEach(parts: readonly (() => void)[], onFailure: (error: PdpError, message: string) => void): boolean {
  let isWhole = true
  for (const replace of parts) {
    try {
      replace()
    } catch (thrown) {
      isWhole = false
      const error = toPdpError(thrown)
      onFailure(error, `${error.message}; what was there before stays`)
    }
  }
  return isWhole
}
