// Against the real `opa` program, where OPA_PROGRAM names one that was built with its WebAssembly engine
// (`go install -tags opa_wasm github.com/open-policy-agent/opa@v1.22.2`): bundles go both ways.
import { execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { readBundle } from '../../src/bundles/read-bundle.ts'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { admin } from '../support/bundles.ts'
import { runCli } from '../support/cli.ts'
import { freePort, untilUp } from '../support/ports.ts'
import { question, startTestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { builtinHost, defaultLimits } from '../support/toolchain.ts'

const opa = process.env.OPA_PROGRAM
const policies = new URL('../../policies', import.meta.url).pathname
const trusted = { caller: { authenticated: false, address: '127.0.0.1' }, time: 1_772_618_400_000_000_000 }
const inputs = ['alice', 'bob', 'carol', 'dave', 'mallory', 'nobody'].flatMap((id) =>
  ['read', 'update', 'share', 'purge'].flatMap((name) =>
    ['roadmap', 'salaries', 'notes', 'unknown'].map((doc) => ({
      subject: { type: 'user', id },
      action: { name },
      resource: { type: 'document', id: doc },
      trusted,
    })),
  ),
)

/** Verdict's engine on a bundle, without a service, so that the input is the very same. */
async function startBundle(path: string): Promise<(input: string) => string | undefined> {
  const bundle = await readBundle(readFileSync(path))
  const instance = new PolicyInstance(await compilePolicyModule(bundle.wasm), bundle.data, await builtinHost(), defaultLimits)
  return (input) => instance.evaluate(instance.entrypoints.get('authz/decision') as number, input, 0).result
}

/** Sets come out as lists whose order is not part of the value. */
const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
    : typeof value === 'object' && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .sort()
            .map(([k, v]) => [k, sorted(v)]),
        )
      : value

// Without the program these are skipped, and Jest says so; .ci/run always has it.
const withOpa = opa === undefined ? describe.skip : describe

withOpa('the opa program', () => {
  const run = (args: string[], input = '') => execFileSync(opa as string, args, { input, encoding: 'utf8' })

  test('signatures go both ways: `opa sign` is verified here, ours by `opa build`', async () => {
    const folder = tempFolder({
      'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if data.users[input.subject.id].active\n',
      'data.json': ' {"users": {"alice": {"active": true, "n": 1.10, "é\\u2028\\"": [null, {}], "b": 12345678901234567890}}}\n',
    })
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const [priv, pub] = [join(folder, 'key.pem'), join(folder, 'key.pub')]
    writeFileSync(priv, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    writeFileSync(pub, publicKey.export({ type: 'spki', format: 'pem' }))
    const config = { keys: [{ id: 'ci', algorithm: 'ES256', file: pub }], bundles: [{ name: 'main', signature: { required: true } }] }
    const service = await startTestService(undefined, config)
    const theirs = join(folder, 'theirs.tar.gz')
    const claims = join(tempFolder({ 'claims.json': '{"keyid":"ci"}' }), 'claims.json')
    const sources = tempFolder({
      'p.rego': readFileSync(join(folder, 'p.rego'), 'utf8'),
      'data.json': readFileSync(join(folder, 'data.json'), 'utf8'),
    })
    run([
      'build',
      '-b',
      sources,
      '-t',
      'wasm',
      '-e',
      'p/allow',
      '--signing-key',
      priv,
      '--signing-alg',
      'ES256',
      '--claims-file',
      claims,
      '-o',
      theirs,
    ])
    const pushed = await admin(service, 'PUT', '/v1/bundles/main', readFileSync(theirs))
    expect([pushed.status, pushed.json.signed_by]).toEqual([200, ['ci']])
    const ours = join(folder, 'ours.tar.gz')
    expect((await runCli(['build', sources, '-o', ours, '--signing-key', priv, '--signing-alg', 'ES256', '--key-id', 'ci'])).code).toBe(0)
    expect((await admin(service, 'PUT', '/v1/bundles/main', readFileSync(ours))).json.signed_by).toEqual(['ci'])
    const verified = ['build', '-b', ours, '--verification-key', pub, '--verification-key-id', 'ci', '--signing-alg', 'ES256']
    run([...verified, '-o', join(folder, 'again.tar.gz')])
    await service.stop()
  })

  test('loads a bundle of `verdict build` and answers the same from it', async () => {
    const bundle = join(tempFolder(), 'b.tar.gz')
    expect((await runCli(['build', policies, '-o', bundle])).code).toBe(0)
    const cases = JSON.stringify(inputs)
    const byOpa = JSON.parse(
      run(['eval', '-b', bundle, '-I', '-f', 'raw', '[r | some i in input; r := data.authz.decision with input as i]'], cases),
    )
    const own = []
    const instance = await startBundle(bundle)
    for (const input of inputs) own.push(JSON.parse(instance(JSON.stringify(input)) as string))
    expect(own.map(sorted)).toEqual(byOpa.map(sorted))
    expect(new Set(own.map((decision) => decision.allow)).size).toBe(2)
  })

  test('builds a bundle that is served unchanged', async () => {
    const bundle = join(tempFolder(), 'o.tar.gz')
    run(['build', '-t', 'wasm', '-b', policies, '--ignore', '*_test.rego', '-o', bundle])
    const service = await startTestService(bundle)
    expect((await service.decide(question)).json).toMatchObject({
      decision: true,
      policy: { entrypoint: 'authz/decision', revision: 'starter' },
    })
    expect((await service.decide({ ...question, subject: { type: 'user', id: 'eve' } })).json.decision).toBe(false)
    await service.stop()
  })

  test('compiles the same data filters, and prints the same way', async () => {
    const folder = tempFolder({
      'f.rego': `package f

# METADATA
# scope: document
# entrypoint: true
# compile:
#   unknowns: [input.fruits]
#   mask_rule: data.f.masks
include if input.fruits.colour in data.favourites[input.user]

include if input.fruits.price < input.budget

include if {
	startswith(input.fruits.name, "a")
	input.fruits.sold == false
}

masks.fruits.supplier := {"replace": {"value": "x"}} if input.user != "root"

# METADATA
# entrypoint: true
untranslatable if regex.match("a+", input.fruits.name)

# METADATA
# entrypoint: true
echo := input.value
`,
      'data.json': '{"favourites":{"alice":["red","green"]}}',
    })
    const service = await startTestService(folder)
    const port = await freePort()
    const server = spawn(opa as string, ['run', '-s', '--addr', `127.0.0.1:${port}`, folder], { stdio: 'ignore' })
    try {
      await untilUp(`http://127.0.0.1:${port}/health`)
      const accepts = [
        'sql.postgresql',
        'sql.mysql',
        'sql.sqlserver',
        'sql.sqlite',
        'ucast.all',
        'ucast.minimal',
        'ucast.prisma',
        'ucast.linq',
        'multitarget',
      ]
      const targetDialects = ['sql+postgresql', 'sql+sqlite', 'ucast+prisma']
      const bodies = [
        { input: { user: 'alice', budget: 5 }, options: { targetDialects } },
        { input: { user: 'root' }, options: { targetDialects } },
        { input: { user: 'bob', budget: 1.5 }, unknowns: ['input.fruits', 'input.user'], options: { targetDialects } },
        {
          input: { user: 'alice' },
          options: { targetDialects, targetSQLTableMappings: { fruits: { $self: 'f', colour: 'c', name: 'n' } } },
        },
        { input: { user: 'alice' }, options: { targetDialects, maskRule: 'masks' } },
      ]
      const ask = async (url: string, target: string, body: object, accept: string) => {
        const response = await fetch(`${url}${target}`, { method: 'POST', body: JSON.stringify(body), headers: { accept } })
        const text = await response.text()
        const { result } = response.status === 200 ? JSON.parse(text) : { result: undefined }
        return [response.status, result]
      }
      for (const path of ['/v1/compile/f/include', '/v1/compile/f/untranslatable']) {
        for (const accept of accepts) {
          for (const body of bodies) {
            const type = `application/vnd.opa.${accept}+json`
            const [theirs, ours] = [await ask(`http://127.0.0.1:${port}`, path, body, type), await ask(service.url, path, body, type)]
            expect([path, accept, body, ...ours]).toEqual([path, accept, body, ...theirs])
          }
        }
      }
      const pretty = async (url: string) =>
        (
          await (await fetch(`${url}/v1/data/f/echo?pretty`, { method: 'POST', body: '{"input":{"value":{"b":[1,{}],"a":"é"}}}' })).text()
        ).replace(/\s*"decision_id": "[^"]*",/, '')
      expect(await pretty(service.url)).toBe(await pretty(`http://127.0.0.1:${port}`))
    } finally {
      server.kill('SIGKILL')
    }
    await service.stop()
  })

  test('answers the Data API as Verdict does', async () => {
    const folder = tempFolder({
      'p.rego':
        'package p\n\n# METADATA\n# entrypoint: true\nallow if input.user == "alice"\n\n# METADATA\n# entrypoint: true\nnone if not input\n\n# METADATA\n# entrypoint: true\nlist := [x | some x in input.list]\n',
    })
    const service = await startTestService(folder)
    const port = await freePort()
    const server = spawn(opa as string, ['run', '-s', '--addr', `127.0.0.1:${port}`, folder], { stdio: 'ignore' })
    try {
      await untilUp(`http://127.0.0.1:${port}/health`)
      const requests: [string, string, string?][] = [
        ...['/v1/data/p/allow', '/v0/data/p/allow', '/v1/data/p/list', '/v0/data/p/list', '/v1/data/p/none', '/v1/data/p/absent'].flatMap(
          (path) =>
            [
              '',
              '{}',
              '{"input":{"user":"alice","list":[1.0,"x",12345678901234567890]}}',
              '{"user":"alice"}',
              '{"input":null}',
              '[',
              '7',
            ].map((body): [string, string, string] => ['POST', path, body]),
        ),
        ['GET', '/v1/data/p/allow?input=%7B%22user%22%3A%22alice%22%7D'],
        ['GET', '/v1/data/p/allow?input=%7B'],
        ['GET', '/v1/data/p/allow'],
        ['GET', '/v1/data/p/none/'],
      ]
      for (const [method, target, body] of requests) {
        const [theirs, ours] = await Promise.all(
          [`http://127.0.0.1:${port}`, service.url].map(async (url) => {
            const response = await fetch(`${url}${target}`, { method, ...(body !== undefined && { body }) })
            const text = (await response.text()).trim()
            if (response.status !== 200) return [response.status, (JSON.parse(text) as { code: string }).code]
            const value = withDigits(text)
            return [200, target.startsWith('/v0') ? value : (value as { result?: unknown }).result]
          }),
        )
        expect([method, target, body, ...(ours as [])]).toEqual([method, target, body, ...(theirs as [])])
      }
    } finally {
      server.kill('SIGKILL')
    }
    await service.stop()
  })
})

/** JSON with numbers as they are spelled. */
function withDigits(json: string): unknown {
  return JSON.parse(json, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' ? `number ${context?.source}` : value,
  )
}

test('a bundle gives the same decisions as its folder', async () => {
  const bundle = join(tempFolder(), 'b.tar.gz')
  expect((await runCli(['build', policies, '-o', bundle])).code).toBe(0)
  const [one, two] = [await startTestService(policies), await startTestService(bundle)]
  for (const { subject, action, resource } of inputs) {
    const [a, b] = [await one.decide({ subject, action, resource }), await two.decide({ subject, action, resource })]
    expect([a.json.decision, a.json.context, a.json.policy]).toEqual([b.json.decision, b.json.context, b.json.policy])
  }
  await one.stop()
  await two.stop()
})
