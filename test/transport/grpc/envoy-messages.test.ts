// Messages as Envoy's own types write them, with the JSON that Google's library makes of them (envoy-messages.json is written by
// test/system/envoy-messages, and again by .ci/run): our reading gives the same JSON, our writing the same bytes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import protobuf from 'protobufjs/minimal.js'
import { readGatewayResult } from '../../../src/transport/gateway/gateway-result.ts'
import { readCheckRequest } from '../../../src/transport/grpc/check-request.ts'
import { writeCheckResponse } from '../../../src/transport/grpc/check-response.ts'
import { codeOf } from '../../support/code-of.ts'

interface Sample {
  readonly name: string
  readonly type: string
  readonly wire: string
  readonly json: { readonly attributes?: unknown }
}
const samples: Sample[] = JSON.parse(readFileSync(join(import.meta.dirname, 'envoy-messages.json'), 'utf8'))
const wire = (name: string) => Buffer.from(samples.find((sample) => sample.name === name)?.wire ?? '', 'base64')
const limits = { maxDepth: 64, maxMembers: 10_000, forbidPrototypeKeys: false }

/** The fields of a message, each as its bytes; their order means nothing. */
function fieldsOf(bytes: Uint8Array): string[] {
  const reader = protobuf.Reader.create(bytes)
  const fields: string[] = []
  while (reader.pos < reader.len) {
    const start = reader.pos
    reader.skipType(reader.uint32() & 7)
    fields.push(Buffer.from(bytes.subarray(start, reader.pos)).toString('hex'))
  }
  return fields.sort()
}

describe('read', () => {
  test.each(
    samples
      .filter(({ type, json }) => type.endsWith('CheckRequest') && json.attributes !== undefined)
      .map(({ name, json }) => [name, json] as const),
  )('%s', (name, json) => {
    expect(JSON.parse(readCheckRequest(wire(name), { limits, members: 0 }).attributes)).toEqual(json.attributes)
  })

  test('nothing is refused', () =>
    expect(codeOf(() => readCheckRequest(wire('nothing'), { limits, members: 0 }))).toBe('ERR_INVALID_REQUEST'))

  test('what else is known of the request', () => {
    const request = readCheckRequest(wire('a request'), { limits, members: 0 })
    expect(request).toMatchObject({
      method: 'GET',
      path: '/a%20b?x=1',
      host: 'shop.example',
      scheme: 'https',
      principal: 'spiffe://td/web',
      ip: '10.1.2.3',
    })
    expect([request.headers.get('cookie'), String(request.body)]).toEqual(['a="b"\\', '{}'])
    expect([...readCheckRequest(wire('bytes, ports by name, numbers that are zero'), { limits, members: 0 }).body]).toEqual([
      0, 1, 254, 255,
    ])
  })

  test('cut anywhere, a request is refused or another one, and never an error of ours', () => {
    const whole = wire('a request')
    const codes = new Set(
      Array.from({ length: whole.length }, (_, length) =>
        codeOf(() => readCheckRequest(whole.subarray(0, length), { limits, members: 0 })),
      ),
    )
    expect([...codes].filter((code) => code !== 'ERR_INVALID_REQUEST' && code !== 'accepted' && code !== 'ERR_INVALID_UTF8')).toEqual([])
  })
})

describe('written', () => {
  test('what passes', () => {
    const result = readGatewayResult(
      JSON.stringify({
        headers: { 'x-user': ['a', 'b'] },
        request_headers_to_remove: ['cookie'],
        response_headers_to_add: { 'x-by': 'v' },
        query_parameters_to_set: { q: '1' },
        query_parameters_to_remove: ['r'],
        dynamic_metadata: { b: true, l: [1, {}], n: 1.5, s: 'é\u2028', z: null },
      }),
    )
    const written = writeCheckResponse({ status: 0, httpStatus: 200, message: '', result, decisionId: '' })
    expect(fieldsOf(written)).toEqual(fieldsOf(wire('passes')))
  })

  test('what does not', () => {
    const result = readGatewayResult(JSON.stringify({ headers: { 'X-Why': 'w' }, body: 'no' }))
    expect(Buffer.from(writeCheckResponse({ status: 7, httpStatus: 403, message: 'm', result, decisionId: '' })).toString('hex')).toBe(
      wire('does not pass').toString('hex'),
    )
  })
})
