// A form of several parts has one reading, or none.
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { multipartText } from '../../../src/transport/gateway/multipart.ts'
import { codeOf } from '../../support/code-of.ts'

const limits = { maxDepth: 8, maxMembers: 20, forbidPrototypeKeys: false }
const type = 'multipart/form-data; boundary=xyz'
const disposition = 'Content-Disposition: form-data; name="a"'
const read = (body: string | Uint8Array, contentType = type) =>
  JSON.parse(multipartText(contentType, typeof body === 'string' ? Buffer.from(body, 'latin1') : body, limits))
/** A part of these lines, with this content. */
const form = (lines: string, content = '1') => `--xyz\r\n${lines}\r\n\r\n${content}\r\n--xyz--\r\n`

describe('read', () => {
  test('forms as a client of the web writes them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'grapheme' })), { minLength: 1, maxLength: 20 }),
        async (entries) => {
          const data = new FormData()
          const expected: Record<string, string[]> = {}
          for (const [name, value] of entries) {
            // Quotes and line breaks in names are written in ways of their own, backslashes and controls are not taken.
            const plain = name.replace(/[\x00-\x1f\x7f"\\]/g, '_')
            data.append(plain, value)
            const own = Object.hasOwn(expected, plain) ? (expected[plain] as string[]) : []
            Object.defineProperty(expected, plain, {
              value: [...own, value.replace(/\r\n|\r|\n/g, '\r\n')],
              enumerable: true,
              configurable: true,
            })
          }
          const sent = new Response(data)
          const text = multipartText(sent.headers.get('content-type') as string, Buffer.from(await sent.arrayBuffer()), limits)
          expect(Object.entries(JSON.parse(text))).toEqual(Object.entries(expected))
        },
      ),
    )
  })

  test('files are text, and what is no UTF-8 in them is replaced', async () => {
    const data = new FormData()
    data.append('f', new Blob([new Uint8Array([0x61, 0xff, 0x00])]), 'ä b.png')
    const sent = new Response(data)
    const text = multipartText(sent.headers.get('content-type') as string, Buffer.from(await sent.arrayBuffer()), limits)
    expect(JSON.parse(text)).toEqual({ f: ['a\ufffd\u0000'] })
  })

  test('parts of JSON keep their digits', () => {
    const body = form(`${disposition}\r\nContent-Type: application/json`, ' {"n":1.10} ')
    expect(multipartText(type, Buffer.from(body), limits)).toBe('{"a":[{"n":1.10}]}')
  })

  test.each([
    ['a boundary in quotes', form(disposition), 'multipart/form-data; charset=utf-8; boundary="xyz"', { a: ['1'] }],
    ['no line break at the end', form(disposition).slice(0, -2), type, { a: ['1'] }],
    ['nothing in it', '--xyz--\r\n', type, {}],
    ['a part without a name', form('Content-Disposition: form-data; name=""'), type, {}],
    ['line breaks in a part', form(disposition, '\r\n1\r\n--xy\n'), type, { a: ['\r\n1\r\n--xy\n'] }],
    ['an encoding that changes nothing', form(`${disposition}\r\nContent-Transfer-Encoding: binary`), type, { a: ['1'] }],
  ])('%s', (_what, body, contentType, expected) => expect(read(body, contentType)).toEqual(expected))
})

describe('refused', () => {
  test.each([
    ['no boundary', form(disposition), 'multipart/form-data'],
    ['two boundaries', form(disposition), 'multipart/form-data; boundary=xyz; boundary=abc'],
    ['another boundary', form(disposition), 'multipart/form-data; boundary=abc'],
    ['something before the first part', `x\r\n${form(disposition)}`, type],
    ['something behind the last part', `${form(disposition)}x`, type],
    ['no end', form(disposition).replace('--xyz--', ''), type],
    ['no body', '', type],
    ['no end of the fields', `--xyz\r\n${disposition}\r\n--xyz--`, type],
    ['line feeds alone', form(disposition).replaceAll('\r', ''), type],
    ['a boundary behind a line feed alone', form(disposition, '1\n--xyz\r\n'), type],
    ['spaces behind a boundary', form(disposition).replace('--xyz\r', '--xyz \r'), type],
    ['no disposition', form('Content-Type: text/plain'), type],
    ['two dispositions', form(`${disposition}\r\n${disposition}`), type],
    ['another disposition', form('Content-Disposition: attachment; name="a"'), type],
    ['two names', form(`${disposition}; name="b"`), type],
    ['a name without quotes', form('Content-Disposition: form-data; name=a'), type],
    ['an escape in a name', form('Content-Disposition: form-data; name="a\\"b"'), type],
    ['a name in another charset', form("Content-Disposition: form-data; name*=utf-8''a"), type],
    ['a folded field', form('Content-Disposition: form-data;\r\n name="a"'), type],
    ['a space before a colon', form('Content-Disposition : form-data; name="a"'), type],
    ['base64', form(`${disposition}\r\nContent-Transfer-Encoding: base64`), type],
    ['quoted-printable', form(`${disposition}\r\nContent-Transfer-Encoding: Quoted-Printable`), type],
  ])('%s', (_what, body, contentType) => expect(codeOf(() => read(body, contentType))).toBe('ERR_INVALID_REQUEST'))

  test.each([
    ['JSON with a key twice', form(`${disposition}\r\nContent-Type: application/json`, '{"a":1,"a":1}'), 'ERR_DUPLICATE_KEY'],
    ['text that is not UTF-8', form(disposition, '\xff'), 'ERR_INVALID_UTF8'],
    ['a name that is not UTF-8', form('Content-Disposition: form-data; name="\xff"'), 'ERR_INVALID_UTF8'],
    ['too many parts', `${'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'.repeat(21)}--xyz--`, 'ERR_TOO_MANY_MEMBERS'],
  ])('%s', (_what, body, code) => expect(codeOf(() => read(body))).toBe(code))

  test('cut anywhere, a form is refused', () => {
    const whole = form(disposition)
    for (let length = 0; length < whole.length - 2; length++) {
      expect([length, codeOf(() => read(whole.slice(0, length)))]).toEqual([length, 'ERR_INVALID_REQUEST'])
    }
  })
})
