// JSON text of objects that do not change and come again with many requests: policies, callers. Written once each.

const known = new WeakMap<object, string>()

export function constantText(value: object): string {
  let text = known.get(value)
  if (text === undefined) {
    text = JSON.stringify(value)
    known.set(value, text)
  }
  return text
}
