import { expect, test } from '@jest/globals'
import { childSpan } from '../../src/telemetry/trace-context.ts'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const span = '00f067aa0ba902b7'

test.each([
  ['version 00', `00-${trace}-${span}-01`],
  ['not sampled', `00-${trace}-${span}-00`],
  ['a later version', `cc-${trace}-${span}-01`],
  ['a later version with more fields', `cc-${trace}-${span}-01-what-ever`],
  ['spaces around it', ` 00-${trace}-${span}-01 `],
])('%s: the trace goes on in a new span', (_what, header) => {
  const ids = childSpan(header)
  expect(ids?.traceId).toBe(trace)
  expect(ids?.spanId).toMatch(/^[0-9a-f]{16}$/)
  expect(ids?.spanId).not.toBe(span)
})

test.each([
  ['nothing', undefined],
  ['version ff', `ff-${trace}-${span}-01`],
  ['a zero trace', `00-${'0'.repeat(32)}-${span}-01`],
  ['a zero span', `00-${trace}-${'0'.repeat(16)}-01`],
  ['capital letters', `00-${trace.toUpperCase()}-${span}-01`],
  ['a short trace', `00-${trace.slice(1)}-${span}-01`],
  ['version 00 with more fields', `00-${trace}-${span}-01-x`],
  ['no flags', `00-${trace}-${span}`],
  ['another character', `00-${trace.slice(1)}g-${span}-01`],
  ['two values', `00-${trace}-${span}-01,00-${trace}-${span}-01`],
  ['text of a megabyte', 'x'.repeat(1_000_000)],
])('%s: no trace', (_what, header) => expect(childSpan(header)).toBeUndefined())
