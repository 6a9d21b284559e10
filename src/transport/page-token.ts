// Tokens that say where the next page of a list begins: opaque to whoever holds them, good for the same request only, and nothing
// can be changed in them. They end with the process that made them.
// @see AuthZEN 1.0 §8.2 (pagination)
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { PdpError } from '../errors.ts'

export interface PageTokens {
  /** @param asked what the token is good for; the same text opens it */
  seal(position: string, asked: string): string
  /** @throws PdpError ERR_INVALID_REQUEST */
  open(token: string, asked: string): string
}

const ivBytes = 12
const tagBytes = 16

export function createPageTokens(): PageTokens {
  const key = randomBytes(32)
  return {
    seal(position, asked) {
      const iv = randomBytes(ivBytes)
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(asked))
      const sealed = Buffer.concat([cipher.update(position, 'utf8'), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64url')
    },
    open(token, asked) {
      try {
        const bytes = Buffer.from(token, 'base64url')
        // Other spellings of the same bytes are not ours.
        if (bytes.toString('base64url') !== token || bytes.length < ivBytes + tagBytes) throw new RangeError('not a token')
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes })
          .setAAD(Buffer.from(asked))
          .setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes))
        return Buffer.concat([decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()]).toString('utf8')
      } catch (cause) {
        throw new PdpError('ERR_INVALID_REQUEST', 'page.token: it was not given for this request, or not by this service', { cause })
      }
    },
  }
}
