// Bodies: strict about their type and encoding, bounded before and after decompression, decoded to text.
// The text is parsed by the door that it is for.
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { decodeUtf8 } from '../../decision/utf8.ts'
import { PdpError } from '../../errors.ts'

const unzip = promisify(gunzip)
const jsonType = /^application\/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*"?utf-8"?[ \t]*)?$/i

export function isJsonType(contentType: string | undefined): boolean {
  return jsonType.test(contentType ?? '')
}

/** What a protocol asks of its bodies. */
export interface BodyRules {
  /** Which content types are taken for JSON. */
  isType(contentType: string | undefined): boolean
  readonly mayBeEmpty: boolean
}

const jsonOnly: BodyRules = { isType: isJsonType, mayBeEmpty: false }

/** Replaces Fastify's parsers: a JSON body arrives at its route as text. */
export function registerJsonBody(app: FastifyInstance, maxBodyBytes: number, rules = jsonOnly): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBodyBytes }, (request, body, done) => {
    try {
      const encoding = checkHeaders(request, rules)
      if (rules.mayBeEmpty && body.length === 0) done(null, '')
      else if (encoding === 'identity') done(null, decode(body as Buffer))
      else inflate(body as Buffer, maxBodyBytes).then((text) => done(null, text), done)
    } catch (error) {
      done(error as Error)
    }
  })
}

/**
 * Fastify's `preValidation` hook for routes that want a body: without one no parser has run.
 * @throws PdpError ERR_UNSUPPORTED_MEDIA_TYPE, ERR_INVALID_REQUEST
 */
export function requireBody(request: FastifyRequest): void {
  if (typeof request.body === 'string') return
  if (request.headers['content-type'] !== undefined) checkHeaders(request, jsonOnly)
  throw new PdpError('ERR_INVALID_REQUEST', 'the body is empty')
}

function checkHeaders(request: FastifyRequest, rules: BodyRules): 'identity' | 'gzip' {
  if (!rules.isType(request.headers['content-type'])) {
    throw new PdpError('ERR_UNSUPPORTED_MEDIA_TYPE', 'the content type must be application/json')
  }
  const encoding = request.headers['content-encoding']?.toLowerCase() ?? 'identity'
  if (encoding === 'identity' || encoding === 'gzip') return encoding
  throw new PdpError('ERR_UNSUPPORTED_ENCODING', 'the content encoding must be gzip or none')
}

function decode(body: Buffer): string {
  if (body.length === 0) throw new PdpError('ERR_INVALID_REQUEST', 'the body is empty')
  return decodeUtf8(body)
}

async function inflate(body: Buffer, maxBytes: number): Promise<string> {
  let plain: Buffer
  try {
    plain = await unzip(body, { maxOutputLength: maxBytes })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new PdpError('ERR_DECOMPRESSED_TOO_LARGE', `the body decompresses to more than \`${maxBytes}\` bytes`)
    }
    throw new PdpError('ERR_INVALID_REQUEST', 'the body is not valid gzip', { cause })
  }
  return decode(plain)
}
