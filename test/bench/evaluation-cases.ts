// The policies of the evaluation bench: each a folder's files, an entrypoint and an input.
import { createHmac, createSign, generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { abacData, abacPolicy, abacQuestion } from './abac.ts'

export interface BenchCase {
  readonly name: string
  readonly files: Readonly<Record<string, string>>
  /** JSON text. */
  readonly data: string
  readonly entrypoint: string
  readonly input: object
  /** For the plot: what the case is one size of, and the size. */
  readonly size?: readonly [family: string, size: number]
}

const question = abacQuestion(7)

export function benchCases(): BenchCase[] {
  return [
    {
      name: 'small ABAC policy',
      files: { 'p.rego': abacPolicy },
      data: JSON.stringify(abacData),
      entrypoint: 'authz/decision',
      input: question,
    },
    starter(),
    ...[10, 100, 1_000, 10_000].map(similarRules),
    patterns(),
    ...[100_000, 1_000_000].map(entries),
    comprehension(),
    jwt('HS256'),
    jwt('RS256'),
    jwt('ES256'),
    claims(),
  ]
}

/** The starter policies as they are, asked what their tests ask. */
function starter(): BenchCase {
  const root = new URL('../../policies/', import.meta.url).pathname
  const files: Record<string, string> = {}
  const data: Record<string, unknown> = {}
  const walk = (folder: string, path: readonly string[]) => {
    for (const name of readdirSync(folder)) {
      const file = join(folder, name)
      if (statSync(file).isDirectory()) walk(file, [...path, name])
      else if (name.endsWith('.rego') && !name.endsWith('_test.rego')) files[[...path, name].join('/')] = readFileSync(file, 'utf8')
      else if (name === 'data.json') set(data, path, JSON.parse(readFileSync(file, 'utf8')))
    }
  }
  walk(root, [])
  const input = { ...question, subject: { type: 'user', id: 'alice' }, resource: { type: 'document', id: '7' } }
  return { name: 'starter policies', files, data: JSON.stringify(data), entrypoint: 'authz/decision', input }
}

function set(data: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let at = data
  for (const key of path.slice(0, -1)) {
    at[key] ??= {}
    at = at[key] as Record<string, unknown>
  }
  at[path.at(-1) as string] = value
}

function similarRules(count: number): BenchCase {
  const rules = Array.from(
    { length: count },
    (_, i) => `allow if { input.path == "/api/${i}"; input.method == "GET"; "role${i}" in input.roles }`,
  )
  const middle = count >> 1
  return {
    name: `${count.toLocaleString('en')} similar rules`,
    files: { 'p.rego': `package many\ndefault allow := false\n${rules.join('\n')}\n` },
    data: '{}',
    entrypoint: 'many/allow',
    input: { path: `/api/${middle}`, method: 'GET', roles: ['other', `role${middle}`] },
    size: ['similar rules', count],
  }
}

function patterns(): BenchCase {
  const rules = Array.from({ length: 20 }, (_, i) => [
    `found contains ${i} if regex.match(\`^/api/v[0-9]+/things${i}/[a-z0-9-]+$\`, input.path)`,
    `found contains ${i + 100} if glob.match("/api/*/things${i}/**", ["/"], input.path)`,
  ])
  return {
    name: '20 regular expressions and 20 globs',
    files: { 'p.rego': `package p\n${rules.flat().join('\n')}\n` },
    data: '{}',
    entrypoint: 'p/found',
    input: { path: '/api/v1/things7/users-1' },
  }
}

function entries(count: number): BenchCase {
  const parts = Array.from({ length: count }, (_, i) => `"user${i}":["role${i % 100}","r${i % 7}"]`)
  return {
    name: `${count.toLocaleString('en')} entries of data`,
    files: { 'p.rego': 'package p\ndefault allow := false\nallow if { some r in data.assignments[input.user]; r == input.role }\n' },
    data: `{"assignments":{${parts.join(',')}}}`,
    entrypoint: 'p/allow',
    input: { user: `user${count >> 1}`, role: `r${(count >> 1) % 7}` },
    size: ['entries of data', count],
  }
}

function comprehension(): BenchCase {
  return {
    name: 'deep comprehension',
    files: {
      'p.rego': `package p
groups := {team: {m.id: [r | some r in m.roles; r in input.wanted] | some m in members; m.level > 2} | some team, members in data.teams}
allow if count([1 | some members in groups; some roles in members; count(roles) > 1]) > 3
`,
    },
    data: JSON.stringify({
      teams: Object.fromEntries(
        Array.from({ length: 10 }, (_, t) => [
          `t${t}`,
          Array.from({ length: 12 }, (_, m) => ({ id: `m${t}-${m}`, level: m % 6, roles: [`r${m % 3}`, `r${(m + 1) % 4}`, `r${t}`] })),
        ]),
      ),
    }),
    entrypoint: 'p/allow',
    input: { wanted: ['r0', 'r1', 'r2'] },
  }
}

type Algorithm = 'HS256' | 'RS256' | 'ES256'

function jwt(algorithm: Algorithm): BenchCase {
  const { token, key } = sign(algorithm, { sub: 'alice', aud: 'api', iss: 'https://issuer.test', exp: 4_000_000_000, roles: ['admin'] })
  const constraint = { ...(algorithm === 'HS256' ? { secret: key } : { cert: key }), aud: 'api' }
  return {
    name: `JWT verified in the policy, ${algorithm}`,
    files: {
      'p.rego': `package p
default allow := false
allow if {
	[ok, _, payload] := io.jwt.decode_verify(input.token, data.constraint)
	ok
	"admin" in payload.roles
}
`,
    },
    data: JSON.stringify({ constraint }),
    entrypoint: 'p/allow',
    input: { token },
  }
}

function sign(algorithm: Algorithm, payload: object): { token: string; key: string } {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: algorithm, typ: 'JWT' })}.${part(payload)}`
  if (algorithm === 'HS256') {
    const key = 'a secret of the bench, long enough for it'
    return { token: `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`, key }
  }
  const { publicKey, privateKey } =
    algorithm === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signature = createSign('sha256').update(text).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' })
  return { token: `${text}.${signature.toString('base64url')}`, key: publicKey.export({ type: 'spki', format: 'pem' }).toString() }
}

function claims(): BenchCase {
  const token = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`claim_${i}`, i % 3 === 0 ? [`v${i}`, `w${i}`] : `value of claim ${i}`]),
  )
  return {
    name: 'a token of 50 claims',
    files: {
      'p.rego': `package p
default allow := false
allow if {
	input.token.claim_7 == "value of claim 7"
	"v9" in input.token.claim_9
	input.action == "read"
}
`,
    },
    data: '{}',
    entrypoint: 'p/allow',
    input: { token, action: 'read' },
  }
}
