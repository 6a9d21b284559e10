// JSON text, on one line, of objects that do not change and come again with many requests: policies, callers. Written once each.
import { toSingleLine } from './json-text.ts'

const known = new WeakMap<object, string>()

export function constantText(value: object): string {
  let text = known.get(value)
  if (text === undefined) {
    text = toSingleLine(JSON.stringify(value))
    known.set(value, text)
  }
  return text
}
