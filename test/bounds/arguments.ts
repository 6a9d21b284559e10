// Large and malicious arguments for a built-in function, as inputs {"a0": …, "a1": …} of at most a megabyte.
import type { BuiltinDeclaration, RegoType } from '../../src/rego/toolchain.ts'

const many = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))

const letters = 'a'.repeat(200_000)
// biome-ignore format: rows of a table
const strings: Readonly<Record<string, string>> = {
  'long text': letters,
  'longest text': 'x'.repeat(900_000),
  'deep brackets': `${'['.repeat(50_000)}1${']'.repeat(50_000)}`,
  'deep JSON Patch path': '/a'.repeat(100_000),
  'deep braces': `${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}`,
  'pattern of nested stars': `${'('.repeat(500)}a*${')*'.repeat(500)}`,
  'pattern of counts': '(a{1,30}){1,30}b',
  'pattern of optionals': `${'a?'.repeat(2_000)}${'a'.repeat(2_000)}`,
  'glob of alternatives': '{a*,b*,c*}'.repeat(2_000),
  'glob of stars': '*a'.repeat(20_000),
  'long number': '9'.repeat(200_000),
  'YAML of aliases': `a0: &a0 [x,x,x,x,x,x,x,x,x]\n${many(30, (i) => `a${i + 1}: &a${i + 1} [*a${i},*a${i},*a${i},*a${i},*a${i},*a${i},*a${i},*a${i},*a${i}]`).join('\n')}`,
  'wide network': '10.0.0.0/4',
  'wide network of version 6': '2001:db8::/32',
  'template of ranges': '{{ range .a }}{{ range $.a }}{{ range $.a }}x{{ end }}{{ end }}{{ end }}',
  'format with a width': '%999999999d %0999999d %v',
  'many separators': ','.repeat(300_000),
  'query of fragments': `query q { ${'a { '.repeat(5_000)} x ${'}'.repeat(5_000)} }`,
  'schema of types': many(5_000, (i) => `type T${i} { a: T${i + 1} }`).join('\n'),
  'module of rules': `package a\n${many(5_000, (i) => `r${i} := ${i} if { input.a == ${i} }`).join('\n')}`,
  'letters beyond ASCII': 'ǅ😀'.repeat(60_000),
  'empty': '',
}

const numbers: Readonly<Record<string, string>> = {
  million: '1000000',
  'two billion': '2000000000',
  'more than 64 bits': '1e30',
  enormous: '1e2000000',
  negative: '-1000000000',
  three: '3',
}

const arrays: Readonly<Record<string, () => string>> = {
  'many numbers': () => `[${many(60_000, (i) => (i * 7919) % 60_000).join(',')}]`,
  'many fractions': () => `[${many(40_000, (i) => `${i}.5`).join(',')}]`,
  'many strings': () => `[${many(40_000, (i) => `"s${i}"`).join(',')}]`,
  'many empty arrays': () => `[${many(150_000, () => '[]').join(',')}]`,
  'deep arrays': () => `${'['.repeat(900)}1${']'.repeat(900)}`,
  'many networks': () => `[${many(30_000, (i) => `"10.${i % 256}.${(i >> 8) % 256}.0/24"`).join(',')}]`,
  'many patches': () => `[${many(8_000, (i) => `{"op":"add","path":"/k${i}","value":${i}}`).join(',')}]`,
  'many paths': () => `[${many(20_000, (i) => `"k${i}/a/b"`).join(',')}]`,
  'many objects': () => `[${many(20_000, (i) => `{"k${i}":${i}}`).join(',')}]`,
  'long strings': () => `[${many(4, () => `"${letters}"`).join(',')}]`,
}

const objects: Readonly<Record<string, () => string>> = {
  'many keys': () => `{${many(40_000, (i) => `"k${i}":${i}`).join(',')}}`,
  'a complete graph': () => `{${many(250, (i) => `"n${i}":[${many(250, (j) => `"n${j}"`).join(',')}]`).join(',')}}`,
  'a chain': () => `{${many(20_000, (i) => `"n${i}":["n${i + 1}"]`).join(',')}}`,
  replacements: () => `{${many(20_000, (i) => `"a${i}":"b"`).join(',')}}`,
  'a list': () => `{"a":[${many(3_000, (i) => i).join(',')}]}`,
  'deep objects': () => `${'{"a":'.repeat(900)}1${'}'.repeat(900)}`,
  'a schema': () => `{"type":"object","properties":{${many(5_000, (i) => `"k${i}":{"type":"string","pattern":"^(a+)+$"}`).join(',')}}}`,
}

/** For each kind of argument, every large value in its place with simple ones beside it, and all large together. */
export function* largeArguments({ decl }: BuiltinDeclaration): Iterable<{ how: string; input: string }> {
  const types = decl.args ?? []
  const seen = new Set<string>()
  for (let place = 0; place < types.length; place++) {
    for (const [how, large] of valuesOf(types[place] as RegoType)) {
      for (const [beside, other] of [
        ['plain', simple],
        ['the same', () => large],
      ] as const) {
        const input = `{${types.map((type, i) => `"a${i}":${i === place ? large : other(type)}`).join(',')}}`
        if (input.length > 1_000_000 || seen.has(input)) continue
        seen.add(input)
        yield { how: `argument ${place + 1}: ${how}, others ${beside}`, input }
      }
    }
  }
}

function* valuesOf(type: RegoType): Iterable<[string, string]> {
  for (const kind of kindsOf(type)) {
    if (kind === 'string') for (const [how, text] of Object.entries(strings)) yield [how, JSON.stringify(text)]
    else if (kind === 'number') yield* Object.entries(numbers)
    else if (kind === 'array' || kind === 'set') for (const [how, make] of Object.entries(arrays)) yield [how, make()]
    else if (kind === 'object') for (const [how, make] of Object.entries(objects)) yield [how, make()]
  }
}

function kindsOf(type: RegoType): ReadonlySet<string> {
  if (type.type !== 'any') return new Set([type.type])
  const alternatives = Array.isArray(type.of) ? (type.of as RegoType[]).map((of) => of.type) : []
  return new Set(alternatives.length > 0 && !alternatives.includes('any') ? alternatives : ['string', 'number', 'array', 'object'])
}

function simple(type: RegoType): string {
  const [kind] = kindsOf(type)
  return kind === 'number'
    ? '3'
    : kind === 'string'
      ? '"a"'
      : kind === 'array' || kind === 'set'
        ? '["a"]'
        : kind === 'object'
          ? '{"a":["a"]}'
          : 'true'
}
