// JSON text with line breaks and two spaces for each level, as OPA prints it when asked. Texts and digits stay as they are.
import { elementsOf, membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'

export function prettyJson(text: JsonText, indent = ''): string {
  const inner = `${indent}  `
  const parts = text.startsWith('{')
    ? [...membersOf(text)].map(([key, value]) => `${inner}${JSON.stringify(key)}: ${prettyJson(value, inner)}`)
    : text.startsWith('[')
      ? elementsOf(text).map((element) => `${inner}${prettyJson(element, inner)}`)
      : undefined
  if (parts === undefined) return text
  const [open, close] = text.startsWith('{') ? ['{', '}'] : ['[', ']']
  return parts.length === 0 ? `${open}${close}` : `${open}\n${parts.join(',\n')}\n${indent}${close}`
}
