// Forms of several parts (multipart/form-data), as clients and browsers write them, read in the only way that there is: what
// another reader could take apart differently is refused.
// @see RFC 7578; RFC 2046 §5.1.1
import { quoted } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { decodeUtf8 } from '../../decision/utf8.ts'
import { PdpError } from '../../errors.ts'

const boundaryPattern = /;\s*boundary=(?:"([^"\\]{1,70})"|([\w'()+,./:=?-]{1,70}))(?=\s*(?:;|$))/gi
const dispositionPattern = /^form-data; ?name="([^"\\\x00-\x1f\x7f]*)"(; ?filename="[^"\x00-\x1f\x7f]*")?$/i
const fieldPattern = /^([A-Za-z0-9-]{1,64}): ?([\t\x20-\x7e\x80-\xff]*)$/
/** Encodings that leave bytes as they are. */
const plainEncodings: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary'])

/**
 * @param contentType with the boundary
 * @returns an object of lists: texts, or the JSON of parts that say that they are JSON; of files, what is no UTF-8 is replaced
 * @throws PdpError ERR_INVALID_REQUEST, ERR_INVALID_UTF8, ERR_TOO_MANY_MEMBERS; as parseStrictJson for parts of JSON
 */
export function multipartText(contentType: string, body: Uint8Array, limits: JsonLimits): JsonText {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const lists = new Map<string, JsonText[]>()
  for (const part of partsOf(bytes, boundaryOf(contentType), limits.maxMembers)) {
    const { name, value } = readPart(part, limits)
    if (name === '') continue
    const values = lists.get(name)
    if (values === undefined) lists.set(name, [value])
    else values.push(value)
  }
  return `{${Array.from(lists, ([name, values]) => `${quoted(name)}:[${values.join(',')}]`).join(',')}}`
}

function boundaryOf(contentType: string): string {
  const [found, ...more] = contentType.matchAll(boundaryPattern)
  const boundary = found?.[1] ?? found?.[2]
  if (boundary === undefined || more.length > 0) throw malformed('its content type must name one boundary')
  return boundary
}

/** Bytes between boundaries. */
function* partsOf(body: Buffer, boundary: string, maxParts: number): Generator<Buffer> {
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  // The first one stands at the very front, without a line break before it.
  if (!body.subarray(0, delimiter.length - 2).equals(delimiter.subarray(2))) throw malformed('it must begin with its boundary')
  for (let at = delimiter.length - 2, parts = 0; ; parts++) {
    const ending = body.toString('latin1', at, at + 2)
    if (ending === '--') {
      const rest = body.toString('latin1', at + 2)
      if (rest !== '' && rest !== '\r\n') throw malformed('something stands behind its end')
      return
    }
    if (ending !== '\r\n') throw malformed('a boundary does not end its line')
    if (parts === maxParts) throw new PdpError('ERR_TOO_MANY_MEMBERS', `parts exceed maxMembers \`${maxParts}\``)
    const next = body.indexOf(delimiter, at)
    if (next < 0) throw malformed('its last boundary is missing')
    const part = body.subarray(at + 2, next)
    // Some readers take a boundary for one wherever it stands.
    if (part.includes(delimiter.subarray(2))) throw malformed('its boundary stands within a part')
    yield part
    at = next + delimiter.length
  }
}

function readPart(part: Buffer, limits: JsonLimits): { readonly name: string; readonly value: JsonText } {
  const end = part.indexOf('\r\n\r\n')
  if (end < 0) throw malformed('a part has no body')
  const fields = readFields(part.toString('latin1', 0, end))
  const [, name, file] = dispositionPattern.exec(fields.get('content-disposition') ?? '') ?? []
  if (name === undefined) throw malformed('a part does not say its name as it should')
  if (!plainEncodings.has(fields.get('content-transfer-encoding')?.toLowerCase() ?? 'binary')) throw malformed('a part is encoded')
  const content = part.subarray(end + 4)
  const value = fields.get('content-type')?.includes('application/json')
    ? parseStrictJson(decodeUtf8(content), limits).text.trim()
    : quoted(file === undefined ? decodeUtf8(content) : content.toString('utf8'))
  return { name: decodeUtf8(Buffer.from(name, 'latin1')), value }
}

function readFields(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const [, name, value] = fieldPattern.exec(line) ?? []
    if (name === undefined || value === undefined) throw malformed('a field of a part is malformed')
    if (fields.size === fields.set(name.toLowerCase(), value.trim()).size) throw malformed('a field of a part is there twice')
  }
  return fields
}

function malformed(what: string): PdpError {
  return new PdpError('ERR_INVALID_REQUEST', `the form is malformed: ${what}`)
}
