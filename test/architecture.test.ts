// The rules of docs/design.md, section 3, as a test: imports go one way, and each library has one owner.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from '@jest/globals'

const root = resolve(import.meta.dirname, '../src')

/** What each room may import beside itself. Files at the top (service.ts and the like) compose and may import all. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  decision: ['errors'],
  wasm: ['errors'],
  policy: ['errors', 'decision', 'wasm'],
  rego: ['errors', 'decision', 'wasm', 'threads'],
  bundles: ['errors', 'decision', 'network'],
  network: ['errors'],
  identity: ['errors', 'decision', 'network'],
  guard: ['errors', 'decision'],
  audit: ['errors', 'decision', 'threads'],
  state: ['errors'],
  telemetry: ['errors', 'decision', 'version'],
  transport: ['errors', 'decision', 'telemetry'],
  cli: ['*'],
  config: ['errors'],
  errors: [],
  version: [],
  threads: [],
  client: [],
  sinks: ['errors', 'decision', 'network', 'audit', 'version'],
  embedded: ['*'],
}

/** Who may import a library; a path is a file or a folder below src. */
const owners: Readonly<Record<string, readonly string[]>> = {
  '@open-policy-agent/opa-wasm': ['policy/opa-abi.ts'],
  fastify: ['transport/http', 'service.ts', 'bundle-sources.ts'],
  '@grpc/grpc-js': ['transport/grpc', 'identity/workload-api.ts', 'cli/drill.ts'],
  '@grpc/proto-loader': ['transport/grpc/server.ts'],
  '@grpc/reflection': ['transport/grpc/server.ts'],
  'grpc-health-check': ['transport/grpc/server.ts'],
  'protobufjs/minimal.js': ['transport/grpc', 'identity/workload-messages.ts', 'cli/drill.ts'],
  pino: ['cli/serve.ts'],
  '@peculiar/asn1-x509': ['identity/x509.ts'],
  '@peculiar/asn1-schema': ['identity/x509.ts'],
  jose: [
    'audit/seal.ts',
    'audit/unseal.ts',
    'transport/authzen-metadata.ts',
    'bundles/signatures.ts',
    'identity/jwt.ts',
    'identity/dpop.ts',
    'identity/introspection.ts',
  ],
  commander: ['main.ts', 'cli'],
  'tar-stream': ['bundles/archive.ts'],
  yaml: ['config.ts'],
  zod: [
    'config.ts',
    'config',
    'embedded/service-facts.ts',
    'transport',
    'audit/record-schema.ts',
    'bundles',
    'identity/key-set.ts',
    'cli/eval-lines.ts',
  ],
  'lru-cache': ['identity/introspection.ts', 'policy/decision-store.ts', 'policy/patterns.ts', 'policy/remembered-calls.ts'],
  'node:sqlite': ['state'],
  '@opentelemetry/api': ['telemetry/metric-data.ts', 'telemetry/otlp.ts'],
  '@opentelemetry/resources': ['telemetry/metric-data.ts'],
  '@opentelemetry/sdk-metrics': ['telemetry/metric-data.ts', 'telemetry/otlp.ts'],
  '@opentelemetry/sdk-node': ['telemetry/otlp.ts'],
  '@opentelemetry/sdk-trace': ['telemetry/otlp.ts'],
  '@opentelemetry/exporter-metrics-otlp-proto': ['telemetry/otlp.ts'],
  '@opentelemetry/exporter-trace-otlp-proto': ['telemetry/otlp.ts'],
  'node:wasi': ['rego/reactor.ts'],
  'node:worker_threads': [
    'threads.ts',
    'rego',
    'network',
    'audit/file-log.ts',
    'audit/log-worker.ts',
    'evaluation-worker.ts',
    'evaluation-workers.ts',
    'gate-worker.ts',
    'gate.ts',
  ],
  'node:http': ['network', 'transport/http', 'identity/introspection.ts', 'cli/server-client.ts'],
  'node:https': ['network', 'identity/introspection.ts', 'transport/http', 'cli/server-client.ts'],
  'node:dns/promises': ['network'],
}

interface Import {
  readonly file: string
  readonly target: string
}

function sources(folder = root): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? sources(path) : path.endsWith('.ts') ? [path] : []
  })
}

const imports: Import[] = sources().flatMap((path) => {
  const text = readFileSync(path, 'utf8')
  const file = relative(root, path)
  return [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^'"\n;]*?(?:\{[^}]*\}[^'"\n]*)?from\s+'([^']+)'|\b(?:import|require|createRequire\([^)]*\))\(\s*'([^']+)'/g,
    ),
  ].map((match) => ({ file, target: (match[1] ?? match[2]) as string }))
})

const room = (file: string) => (file.split('/')[0] as string).replace(/\.ts$/, '')

describe('imports go one way', () => {
  test('there are imports to look at', () => expect(imports.length).toBeGreaterThan(100))

  test.each(imports.filter(({ target }) => target.startsWith('.')).map(({ file, target }) => [file, target]))(
    '%s imports %s',
    (file, target) => {
      const from = room(file)
      const to = room(relative(root, join(dirname(join(root, file)), target)))
      const rules = file.includes('/') || allowed[from] !== undefined ? allowed[from] : ['*']
      expect(rules).toBeDefined()
      if (from !== to && rules?.includes('*') !== true) expect(rules).toContain(to)
    },
  )

  test('every room has a rule', () => {
    const rooms = readdirSync(root).filter((name) => statSync(join(root, name)).isDirectory())
    expect(rooms.filter((name) => allowed[name] === undefined)).toEqual([])
  })
})

describe('each library has one owner', () => {
  const builtIn = /^node:/
  const libraries = imports.filter(({ target }) => !target.startsWith('.') && (!builtIn.test(target) || owners[target] !== undefined))

  test.each(libraries.map(({ file, target }) => [target, file]))('%s in %s', (target, file) => {
    const owned = owners[target]
    expect(owned).toBeDefined()
    expect(owned?.some((owner) => file === owner || file.startsWith(`${owner}/`))).toBe(true)
  })
})

test('only config.ts and the command line read the environment', () => {
  const readers = sources().filter((path) => /process\.env\b/.test(readFileSync(path, 'utf8')))
  expect(readers.map((path) => relative(root, path)).sort()).toEqual(['cli/eval-lines.ts', 'config.ts'])
})

test('every file says at its top what it is', () => {
  const silent = sources().filter((path) => !/^(#!.*\n)?\/\/ /.test(readFileSync(path, 'utf8')))
  expect(silent).toEqual([])
})
