// JSON texts that mean the same value: for comparing answers of two engines without losing a digit.
import { elementsOf, membersOf } from '../../src/decision/json-text.ts'

export interface CanonicalOptions {
  /** Arrays count as sets. */
  readonly unordered?: boolean
  /** Numbers of one value count as one, however they are written. Else every digit counts. */
  readonly numeric?: boolean
}

/** The same text for the same value; keys sorted, escapes and space gone. */
export function canonical(text: string, options: CanonicalOptions = {}): string {
  const trimmed = text.trim()
  switch (trimmed[0]) {
    case '{': {
      const members = [...membersOf(trimmed)].map(([key, value]) => `${JSON.stringify(key)}:${canonical(value, options)}`)
      return `{${members.sort().join(',')}}`
    }
    case '[': {
      const elements = elementsOf(trimmed).map((element) => canonical(element, options))
      return `[${(options.unordered ? elements.sort() : elements).join(',')}]`
    }
    case '"':
      return JSON.stringify(JSON.parse(trimmed))
    default:
      return options.numeric && /^[-0-9]/.test(trimmed) ? decimal(trimmed) : trimmed
  }
}

/** Sign, digits without zeros at the ends, and exponent. */
function decimal(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(text) ?? []
  const digits = (whole + fraction).replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`
}
