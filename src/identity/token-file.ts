// A bearer token kept in a file, compared without leaking how much of it was right, read again when the file changes.
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { PdpError } from '../errors.ts'

/** Shortest token that is accepted: 128 bits in base64url take 22 characters. */
const minTokenLength = 22
/** How often the file is looked at, at most. */
const checkEveryMs = 1_000

/**
 * @returns whether a token is the one in the file
 * @throws PdpError ERR_CONFIG_INVALID when the file cannot be read or its token is too short
 */
export function createTokenFile(path: string): (token: string) => boolean {
  let expected = read(path)
  let modifiedMs = statSync(path).mtimeMs
  let checkedMs = Date.now()
  return (token) => {
    const now = Date.now()
    if (now - checkedMs > checkEveryMs) {
      checkedMs = now
      const changed = modified(path)
      // A file that is gone or half written keeps the last good token; it cannot open the door wider.
      if (changed !== undefined && changed !== modifiedMs) {
        modifiedMs = changed
        expected = tryRead(path) ?? expected
      }
    }
    return timingSafeEqual(hash(token), expected)
  }
}

/** Whether a token equals a fixed one. */
export function createFixedToken(expected: string): (token: string) => boolean {
  const digest = hash(expected)
  return (token) => timingSafeEqual(hash(token), digest)
}

function read(path: string): Buffer {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `the token file \`${path}\` cannot be read: ${(cause as Error).message}`, { cause })
  }
  if (text.length < minTokenLength) {
    throw new PdpError(
      'ERR_CONFIG_INVALID',
      `the token in \`${path}\` has \`${text.length}\` characters, at least \`${minTokenLength}\` are needed`,
    )
  }
  return hash(text)
}

function tryRead(path: string): Buffer | undefined {
  try {
    return read(path)
  } catch {
    return undefined
  }
}

function modified(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs
}

function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
