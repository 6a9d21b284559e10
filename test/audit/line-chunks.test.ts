import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { LineChunks, withoutFirst } from '../../src/audit/line-chunks.ts'

const text = (chunks: readonly Buffer[]) => Buffer.concat(chunks).toString()

test('gives back every line in order, of any length, also when a batch comes back', () => {
  const line = fc.tuple(fc.string({ unit: 'grapheme' }), fc.nat(400)).map(([part, times]) => `${part.replaceAll('\n', '').repeat(times)}\n`)
  fc.assert(
    fc.property(fc.array(fc.tuple(line, fc.nat(9)), { size: 'max', maxLength: 60 }), (steps) => {
      const lines = new LineChunks()
      let written = ''
      for (const [one, act] of steps) {
        lines.append(one)
        if (act > 1) continue
        const batch = lines.take()
        expect(lines.bytes).toBe(0)
        if (act === 0) {
          written += text(batch)
          lines.release(batch)
        } else lines.putBack(batch)
      }
      const rest = lines.bytes
      const batch = lines.take()
      expect(Buffer.concat(batch)).toHaveLength(rest)
      expect(written + text(batch)).toBe(steps.map(([one]) => one).join(''))
    }),
    { numRuns: 200 },
  )
})

test('what looks like two lines is written as one', () => {
  const lines = new LineChunks()
  lines.append('{"a":1}\n')
  lines.append('\n{"forged"\n\n:true}\n')
  lines.append('{"b":1}\n')
  expect(text(lines.take())).toBe('{"a":1}\n {"forged"  :true}\n{"b":1}\n')
})

test.each([
  [0, ['ab', 'cde', 'f']],
  [1, ['b', 'cde', 'f']],
  [2, ['cde', 'f']],
  [4, ['e', 'f']],
  [5, ['f']],
  [6, []],
])('of three chunks, %i bytes written leave %j', (bytes, left) => {
  const chunks = ['ab', 'cde', 'f'].map((text) => Buffer.from(text))
  expect(withoutFirst(chunks, bytes).map(String)).toEqual(left)
})
