// The life of a bundle over HTTP: pushed, checked, held, approved, activated, taken back; every act with its role and its trace.
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { readArchive, writeArchive } from '../../src/bundles/archive.ts'
import { makeEnvelope } from '../../src/bundles/envelopes.ts'
import { type SigningClaims, type SigningKey, signaturesFile, signFiles } from '../../src/bundles/signatures.ts'
import { type AdminAnswer, admin, archiveOf } from '../support/bundles.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = (condition: string, more: Record<string, string> = {}) => ({
  'p.rego': `package p\n\n# METADATA\n# entrypoint: true\nallow if ${condition}\n`,
  ...more,
})
const onlyAlice = policy('input.subject.id == "alice"')
const all = policy('input.subject.id != ""')
const tokens = {
  ann: 'token-of-ann-0123456789012',
  bob: 'token-of-bob-0123456789012',
  eve: 'token-of-eve-0123456789012',
  pat: 'token-of-pat-0123456789012',
}
const files = tempFolder(tokens)
const operators = [
  { id: 'ann', tokenFile: `${files}/ann`, roles: ['push', 'pull'] },
  { id: 'bob', tokenFile: `${files}/bob`, roles: ['push', 'approve', 'operate'] },
  { id: 'eve', tokenFile: `${files}/eve`, roles: ['audit'] },
  { id: 'pat', tokenFile: `${files}/pat`, roles: ['patch'] },
]
const start = (rules: object = {}, more: Record<string, unknown> = {}) =>
  startTestService(undefined, { bundles: [{ name: 'main', ...rules }], 'authentication.callers': operators, ...more })
const push = (service: TestService, archive: Buffer, token = tokens.ann) => admin(service, 'PUT', '/v1/bundles/main', archive, token)
const actsOf = async (service: TestService) =>
  (await admin(service, 'GET', '/v1/acts', undefined, tokens.eve)).json.acts.map(
    ({ seq, actor, act, epoch }: { seq: number; actor: string; act: string; epoch?: number }) => [seq, actor, act, epoch],
  )
const allowed = async (service: TestService, id: string) =>
  (await service.decide({ ...question, subject: { type: 'user', id } })).json.decision

describe('push', () => {
  test('what passes its checks answers at once, and after a restart without anything else', async () => {
    const service = await start()
    const archive = await archiveOf({
      ...onlyAlice,
      'p_test.rego': 'package p_test\n\nimport data.p\n\ntest_alice if p.allow with input as {"subject": {"id": "alice"}}\n',
      'decisions.json': '[{"name":"bob","input":{"subject":{"id":"bob"}},"decision":false}]',
      '.manifest': '{"revision":"r1"}',
    })
    const pushed = await push(service, archive)
    expect([pushed.status, pushed.json.status, pushed.json.active, pushed.json.epoch, pushed.json.pushed_by]).toEqual([
      200,
      'ready',
      true,
      1,
      'ann',
    ])
    expect(pushed.json.report.checks.map(({ name, outcome }: { name: string; outcome: string }) => [name, outcome])).toEqual([
      ['signature', 'skipped'],
      ['types', 'passed'],
      ['tests', 'passed'],
      ['memory', 'passed'],
      ['module', 'passed'],
      ['vectors', 'passed'],
      ['replay', 'skipped'],
    ])
    expect([await allowed(service, 'alice'), await allowed(service, 'bob')]).toEqual([true, false])
    expect((await push(service, archive)).json).toMatchObject({ active: true, epoch: 1 })
    expect(await actsOf(service)).toEqual([
      [1, 'ann', 'pushed', undefined],
      [2, 'service', 'checked', undefined],
      [3, 'ann', 'activated', 1],
    ])
    await service.stop()
    const again = await start({}, { state: service.state })
    expect(await allowed(again, 'alice')).toBe(true)
    await again.stop()
  })

  test('Rego alone is compiled here', async () => {
    const service = await start()
    const pushed = await push(service, await writeArchive(new Map(Object.entries(onlyAlice))))
    expect([pushed.status, await allowed(service, 'alice')]).toEqual([200, true])
    await service.stop()
  })

  test.each([
    ['a test fails', { ...onlyAlice, 'p_test.rego': 'package p_test\n\ntest_no if false\n' }, 'tests'],
    ['a decision is not as it must be', { ...onlyAlice, 'decisions.json': '[{"input":{},"decision":true}]' }, 'vectors'],
    ['decisions.json is no list', { ...onlyAlice, 'decisions.json': '{}' }, 'vectors'],
    [
      'the input has other types',
      { ...onlyAlice, 'input.schema.json': '{"type":"object","properties":{"user":{"type":"string"}},"additionalProperties":false}' },
      'types',
    ],
    ['a default entrypoint does not exist', { ...onlyAlice, '.manifest': '{"metadata":{"default_entrypoint":"p/none"}}' }, 'module'],
  ])('%s: rejected, and what was active goes on answering', async (_what, content, check) => {
    const service = await start()
    await push(service, await archiveOf(all))
    const pushed = await push(service, await archiveOf(content))
    const failed = pushed.json.report.checks.filter(({ outcome }: { outcome: string }) => outcome === 'failed')
    expect([pushed.status, pushed.json.status, failed.map(({ name }: { name: string }) => name)]).toEqual([422, 'rejected', [check]])
    expect(await allowed(service, 'bob')).toBe(true)
    const { digest } = pushed.json
    expect((await admin(service, 'POST', '/v1/bundles/main/activate', { digest }, tokens.bob)).json.error.code).toBe('ERR_CONFLICT')
    await service.stop()
  })

  test('too little covered by tests, or no tests: rejected', async () => {
    const service = await start({ gate: { minCoverage: 90 } })
    const pushed = await push(service, await archiveOf(onlyAlice))
    expect([pushed.status, pushed.json.status]).toEqual([422, 'rejected'])
    await service.stop()
  })

  test('the same label for another archive, what is no archive, no name: refused without a trace of a revision', async () => {
    const service = await start()
    await push(service, await archiveOf({ ...onlyAlice, '.manifest': '{"revision":"r1"}' }))
    const other = await push(service, await archiveOf({ ...all, '.manifest': '{"revision":"r1"}' }))
    expect([other.status, other.json.error.code]).toEqual([409, 'ERR_CONFLICT'])
    expect((await push(service, Buffer.from('no archive'))).json.error.code).toBe('ERR_BUNDLE_INVALID')
    expect((await admin(service, 'PUT', '/v1/bundles/a%20b', Buffer.from('x'), tokens.ann)).status).toBe(404)
    expect((await admin(service, 'PUT', '/v1/bundles/main', { a: 1 }, tokens.ann)).status).toBe(415)
    expect((await admin(service, 'GET', '/v1/bundles/main')).json.revisions).toHaveLength(1)
    await service.stop()
  })

  test('of two archives with one label that come at one time, one is taken', async () => {
    const service = await start()
    const archives = await Promise.all([onlyAlice, all].map((content) => archiveOf({ ...content, '.manifest': '{"revision":"r1"}' })))
    const answers = await Promise.all(archives.map((archive) => push(service, archive)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
    await service.stop()
  })

  test('what came from a folder before, and was not checked then, can be pushed', async () => {
    const archive = await archiveOf(onlyAlice)
    const folder = tempFolder()
    writeFileSync(`${folder}/b.tar.gz`, archive)
    const first = await startTestService(`${folder}/b.tar.gz`)
    await first.stop()
    const service = await start({}, { state: first.state })
    const { status, json } = await push(service, archive)
    expect([status, json.origin, json.active, json.epoch]).toEqual([200, 'disk', true, 1])
    await service.stop()
  })

  test('cut at any byte, a bundle is refused', async () => {
    const service = await start()
    const archive = await archiveOf(onlyAlice)
    await push(service, archive)
    // Each cut alone would take minutes: every 97th, and all of the last ones.
    const cuts = Array.from({ length: archive.length }, (_, i) => i).filter((i) => i % 997 === 0 || i > archive.length - 20)
    for (const cut of cuts) {
      const { status } = await push(service, archive.subarray(0, cut))
      expect([cut, status]).toEqual([cut, 400])
    }
    expect((await admin(service, 'GET', '/v1/bundles/main')).json.revisions).toHaveLength(1)
    expect(await allowed(service, 'alice')).toBe(true)
    await service.stop()
  })
})

describe('recorded decisions', () => {
  test('one flip of a thousand holds a bundle, and the decision is named', async () => {
    const service = await start()
    await push(service, await archiveOf(all))
    const ids = Array.from({ length: 1_000 }, (_, i) => (i === 500 ? 'mallory' : `user${i}`))
    const evaluations = ids.map((id) => ({ subject: { type: 'user', id } }))
    const { json } = await service.decide({ ...question, evaluations })
    // The log writes within its interval.
    await new Promise((resolve) => setTimeout(resolve, 300))
    const pushed = await push(service, await archiveOf(policy('input.subject.id != "mallory"')))
    expect([pushed.status, pushed.json.status, pushed.json.needed_approvals]).toEqual([202, 'held', 1])
    expect(pushed.json.report.replay).toEqual({
      replayed: 1_000,
      passedOver: 0,
      flips: { 'allow → deny': 1 },
      examples: [
        {
          id: json.evaluations[500].id,
          subject: 'user:mallory',
          action: 'read',
          resource: 'document:roadmap',
          entrypoint: 'p/allow',
          before: 'allow',
          after: 'deny',
        },
      ],
    })
    expect(await allowed(service, 'mallory')).toBe(true)
    const { digest } = pushed.json
    const approved = await admin(service, 'POST', '/v1/bundles/main/approve', { digest }, tokens.bob)
    expect(approved.json).toMatchObject({ active: true, epoch: 2, approved_by: ['bob'] })
    // The same between any two revisions, the other way round.
    const from = pushed.json.digest
    const { revisions } = (await admin(service, 'GET', '/v1/bundles/main')).json
    const to = revisions.find(({ digest }: { digest: string }) => digest !== from).digest
    const compared = await admin(service, 'POST', '/v1/bundles/main/compare', { from, to }, tokens.eve)
    expect(compared.json).toMatchObject({ replayed: 1_000, flips: { 'deny → allow': expect.any(Number) } })
    expect(compared.json.examples[0]).toMatchObject({ subject: 'user:mallory', before: 'deny', after: 'allow' })
    expect(await allowed(service, 'mallory')).toBe(false)
    await service.stop()
  })
})

test('chance is taken from the record: a policy that rolls dice is replayed, and a call that was not made then says nothing', async () => {
  const service = await start()
  const dice = (limit: number, more = '') => policy(`rand.intn("dice", 1000000) < ${limit}`, more === '' ? {} : { 'q.rego': more })
  await push(service, await archiveOf(dice(500_000)))
  for (let i = 0; i < 40; i++) await service.decide(question)
  const same = await push(service, await archiveOf(dice(500_000, 'package q\n')))
  expect(same.json.report.replay).toMatchObject({ replayed: 40, passedOver: 0, flips: {} })
  const rigged = await push(service, await archiveOf(dice(0)))
  expect(rigged.json.status).toBe('held')
  const other = await push(service, await archiveOf(policy('rand.intn("other", 1000000) < 500000')))
  expect(other.json.report.replay).toMatchObject({ replayed: 0, passedOver: 40, flips: {} })
  const records = await service.stop()
  expect(Object.keys(records[0]?.nd as object)).toEqual(['rand.intn'])
  expect(JSON.stringify(records[0]?.nd)).not.toContain('dice')
})

describe('approval and the way back', () => {
  test('another one approves; nobody approves what they pushed; one command goes back', async () => {
    const service = await start({ approvals: 1 })
    const first = (await push(service, await archiveOf(onlyAlice), tokens.bob)).json
    expect([first.status, first.active]).toEqual(['held', false])
    const own = await admin(service, 'POST', '/v1/bundles/main/approve', { digest: first.digest }, tokens.bob)
    expect([own.status, own.json.error.code]).toEqual([403, 'ERR_FORBIDDEN'])
    expect((await admin(service, 'POST', '/v1/bundles/main/approve', { digest: first.digest })).json.epoch).toBe(1)
    const second = (await push(service, await archiveOf(all))).json
    expect((await admin(service, 'POST', '/v1/bundles/main/approve', { digest: second.digest }, tokens.bob)).json.epoch).toBe(2)
    expect(await allowed(service, 'bob')).toBe(true)
    const back = await admin(service, 'POST', '/v1/bundles/main/rollback', {}, tokens.bob)
    expect([back.json.digest, back.json.epoch, await allowed(service, 'bob')]).toEqual([first.digest, 3, false])
    expect((await actsOf(service)).at(-1)).toEqual([9, 'bob', 'rolled_back', 3])
    await service.stop()
  })

  test('with manual activation a revision waits until somebody says so', async () => {
    const service = await start({ activation: 'manual' })
    const { digest, active } = (await push(service, await archiveOf(onlyAlice))).json
    expect(active).toBe(false)
    expect((await admin(service, 'POST', '/v1/bundles/main/activate', { digest }, tokens.bob)).json.epoch).toBe(1)
    await service.stop()
  })
})

describe('signatures', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const file = `${tempFolder({ 'key.pem': publicKey.export({ type: 'spki', format: 'pem' }) as string })}/key.pem`
  const keys = [{ id: 'ci', algorithm: 'EdDSA', file }]
  const signed = async (content: Record<string, string>, claims: SigningClaims) => {
    const read = await readArchive(await archiveOf(content))
    const text = await signFiles(read, { id: 'ci', algorithm: 'EdDSA', key: privateKey }, claims, Date.now())
    return writeArchive(new Map<string, Uint8Array | string>([...read, [signaturesFile, text]]))
  }

  test('where one is required, unsigned bundles are refused, and a sequence only goes up', async () => {
    const service = await start({ signature: { required: true, requireSequence: true } }, { keys })
    const codeOf = async (archive: Buffer) => (await push(service, archive)).json.error?.code
    expect(await codeOf(await archiveOf(onlyAlice))).toBe('ERR_BUNDLE_SIGNATURE')
    const old = await signed(onlyAlice, { sequence: 5 })
    expect((await push(service, old)).json).toMatchObject({ active: true, signed_by: ['ci'] })
    expect((await push(service, await signed(all, { sequence: 6 }))).json.epoch).toBe(2)
    expect(await codeOf(await signed(policy('true'), { sequence: 6 }))).toBe('ERR_BUNDLE_ROLLBACK')
    expect(await codeOf(await signed(policy('false'), { sequence: 4 }))).toBe('ERR_BUNDLE_ROLLBACK')
    expect(await allowed(service, 'bob')).toBe(true)
    // To go back is an act of its own, not a push.
    expect((await admin(service, 'POST', '/v1/bundles/main/rollback', {}, tokens.bob)).json.epoch).toBe(3)
    await service.stop()
  })

  test('where two keys have to sign, one key does not do it twice, and approvals and signatures are both waited for', async () => {
    const second = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const folder = tempFolder({ 'audit.pem': second.publicKey.export({ type: 'spki', format: 'pem' }) as string })
    const two = [...keys, { id: 'again', algorithm: 'EdDSA', file }, { id: 'audit', algorithm: 'ES256', file: `${folder}/audit.pem` }]
    const service = await start({ approvals: 1, signature: { threshold: 2 } }, { keys: two })
    const held = await push(service, await signed(onlyAlice, {}))
    expect([held.status, held.json.status, held.json.signed_by, held.json.needed_signers]).toEqual([202, 'held', ['ci'], 2])
    const { digest } = held.json
    const sign = (key: SigningKey, of = digest) =>
      admin(service, 'POST', '/v1/bundles/main/signatures', { digest, envelope: JSON.parse(makeEnvelope(of, key, {})) }, tokens.ann)
    const same = { id: 'again', algorithm: 'EdDSA', key: privateKey } as const
    const audit = { id: 'audit', algorithm: 'ES256', key: second.privateKey } as const
    expect((await sign(same)).json.error.code).toBe('ERR_BUNDLE_SIGNATURE')
    expect(
      (
        await sign(
          audit,
          digest.replace(/.$/, (c: string) => (c === '0' ? '1' : '0')),
        )
      ).json.error.code,
    ).toBe('ERR_BUNDLE_SIGNATURE')
    const approved = await admin(service, 'POST', '/v1/bundles/main/approve', { digest }, tokens.bob)
    expect([approved.status, approved.json.status]).toEqual([200, 'held'])
    const done = await sign(audit)
    expect([done.json.active, done.json.signed_by]).toEqual([true, ['ci', 'audit']])
    expect((await sign(audit)).json.error.code).toBe('ERR_CONFLICT')
    expect((await actsOf(service)).map(([, actor, act]: unknown[]) => [actor, act])).toEqual([
      ['ann', 'pushed'],
      ['service', 'checked'],
      ['bob', 'approved'],
      ['ann', 'signed'],
      ['ann', 'activated'],
    ])
    await service.stop()
  })

  test('what is active denies when its signature has expired for too long, and says so', async () => {
    const service = await start({ signature: { expiryGraceMs: 0 } }, { keys })
    const expiresAtMs = (Math.floor(Date.now() / 1_000) + 4) * 1_000
    const pushed = await push(service, await signed(all, { expiresAtMs }))
    expect(pushed.json).toMatchObject({ active: true, expires_at: new Date(expiresAtMs).toISOString() })
    expect([await allowed(service, 'bob'), (await fetch(`${service.url}/readyz`)).status]).toEqual([true, 200])
    await new Promise((resolve) => setTimeout(resolve, expiresAtMs - Date.now() + 50))
    const answer = await service.decide(question)
    expect([answer.status, answer.json.error.code]).toEqual([503, 'ERR_BUNDLE_EXPIRED'])
    expect((await fetch(`${service.url}/readyz`)).status).toBe(503)
    const { state } = service
    await service.stop()
    // A restart forgets neither the bundle nor its age.
    const again = await start({ signature: { expiryGraceMs: 0 } }, { keys, state })
    expect((await again.decide(question)).json.error.code).toBe('ERR_BUNDLE_EXPIRED')
    expect((await push(again, await signed(policy('input.subject.id != "z"'), {}))).json.active).toBe(true)
    expect((await again.decide(question)).status).toBe(200)
    const back = await admin(again, 'POST', '/v1/bundles/main/rollback', {}, tokens.bob)
    expect([back.status, back.json.error.code]).toEqual([503, 'ERR_BUNDLE_EXPIRED'])
    await again.stop()
  })

  test('a signed delta changes what it names, and nothing that came between', async () => {
    const byData = { ...policy('data.users[input.subject.id]'), 'data.json': '{"users":{"alice":true}}' }
    const service = await start({ signature: { required: true } }, { keys })
    const delta = async (base: string, id: string, claims?: SigningClaims) => {
      const manifest = JSON.stringify({ revision: `with ${id}`, metadata: { base } })
      const patch = JSON.stringify({ data: [{ op: 'upsert', path: `/users/${id}`, value: true }] })
      const files = new Map([
        ['.manifest', Buffer.from(manifest)],
        ['patch.json', Buffer.from(patch)],
      ])
      const text = claims && (await signFiles(files, { id: 'ci', algorithm: 'EdDSA', key: privateKey }, claims, Date.now()))
      return writeArchive(new Map<string, Uint8Array | string>([...files, ...(text ? [[signaturesFile, text] as const] : [])]))
    }
    const { digest } = (await push(service, await signed(byData, {}))).json
    expect((await push(service, await delta(digest, 'bob'))).json.error.code).toBe('ERR_BUNDLE_SIGNATURE')
    const changed = (await push(service, await delta(digest, 'bob', {}))).json
    expect(changed).toMatchObject({ active: true, epoch: 2, origin: 'delta', revision: 'with bob', signed_by: ['ci'] })
    expect([await allowed(service, 'bob'), await allowed(service, 'carol')]).toEqual([true, false])
    expect((await push(service, await delta(digest, 'carol', {}))).json.error.code).toBe('ERR_CONFLICT')
    expect(await allowed(service, 'carol')).toBe(false)
    await service.stop()
  })

  test('what is signed is verified where nothing is required, too', async () => {
    const service = await start()
    expect((await push(service, await signed(onlyAlice, {}))).json.error.code).toBe('ERR_BUNDLE_SIGNATURE')
    await service.stop()
  })
})

describe('in the shadow', () => {
  test('a candidate answers what is asked, unheard, and what it would say otherwise is counted', async () => {
    const service = await start({ activation: 'manual' })
    const first = (await push(service, await archiveOf(all))).json.digest
    await admin(service, 'POST', '/v1/bundles/main/activate', { digest: first }, tokens.bob)
    const second = (await push(service, await archiveOf(onlyAlice))).json.digest
    const shadow = (method: string, body?: object) => admin(service, method, '/v1/bundles/main/shadow', body, tokens.bob)
    expect((await shadow('GET')).status).toBe(404)
    expect((await shadow('PUT', { digest: second })).status).toBe(200)
    const ids: string[] = []
    for (const id of ['alice', 'bob', 'alice', 'carol']) {
      const { json } = await service.decide({ ...question, subject: { type: 'user', id } })
      expect(json.decision).toBe(true)
      if (id !== 'alice') ids.push(json.id)
    }
    const { json } = await shadow('GET')
    expect(json).toMatchObject({ digest: second, compared: 4, passed_over: 0, differences: { 'allow → deny': 2 } })
    expect(json.examples.map(({ id }: { id: string }) => id)).toEqual(ids.reverse())
    expect((await shadow('DELETE')).json.compared).toBe(4)
    expect((await shadow('DELETE')).json.error.code).toBe('ERR_CONFLICT')
    expect((await actsOf(service)).slice(-2).map(([, , act]: [number, string, string]) => act)).toEqual(['shadow_started', 'shadow_ended'])
    expect(await service.stop()).toHaveLength(4)
  })
})

describe('a change of data', () => {
  const byData = { ...policy('data.users[input.subject.id].active'), 'data.json': '{"users":{"alice":{"active":true,"n":1.10}}}' }
  const change = (service: TestService, epoch: string, operations: unknown, token: string = tokens.pat) =>
    fetch(`${service.url}/v1/bundles/main/data`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json-patch+json', 'if-match': epoch },
      body: JSON.stringify(operations),
    }).then(async (response) => ({ status: response.status, json: (await response.json()) as AdminAnswer['json'] }))
  const grantBob = [{ op: 'add', path: '/users/bob', value: { active: true } }]

  test('there and back again is two changes, each checked and active', async () => {
    const service = await start()
    await push(service, await archiveOf(byData))
    const set = async (epoch: string, value: boolean) =>
      (await change(service, epoch, [{ op: 'replace', path: '/users/alice/active', value }])).status
    // The gate's flips are of recorded decisions, and none is of this answer when it is asked behind the changes.
    expect([await set('1', false), await set('2', true), await set('3', false), await set('4', true)]).toEqual([200, 200, 200, 200])
    expect((await service.decide({ ...question, subject: { type: 'user', id: 'alice' } })).json.decision).toBe(true)
    expect((await actsOf(service)).filter(([, , act]: [number, string, string]) => act === 'patched')).toHaveLength(4)
    expect(await set('5', true)).toBe(200)
    await service.stop()
  })

  test('is a revision of its own, for the epoch that it names, and there is a way back', async () => {
    const service = await start()
    await push(service, await archiveOf(byData))
    expect((await change(service, '7', grantBob)).json.error.code).toBe('ERR_EPOCH_MISMATCH')
    const changed = await change(service, '"1"', grantBob)
    expect([changed.status, changed.json.origin, changed.json.pushed_by, changed.json.epoch]).toEqual([200, 'patch', 'pat', 2])
    expect([await allowed(service, 'alice'), await allowed(service, 'bob')]).toEqual([true, true])
    expect((await change(service, '1', grantBob)).status).toBe(412)
    expect((await actsOf(service)).at(-1)).toEqual([6, 'pat', 'patched', 2])
    await admin(service, 'POST', '/v1/bundles/main/rollback', {}, tokens.bob)
    expect(await allowed(service, 'bob')).toBe(false)
    await service.stop()
  })

  test('waits for approval where revisions do, and never for the one who made it', async () => {
    const service = await start({ approvals: 1 })
    const { digest } = (await push(service, await archiveOf(byData))).json
    await admin(service, 'POST', '/v1/bundles/main/approve', { digest }, tokens.bob)
    const held = await change(service, '1', grantBob)
    expect([held.status, held.json.status, await allowed(service, 'bob')]).toEqual([202, 'held', false])
    await admin(service, 'POST', '/v1/bundles/main/approve', { digest: held.json.digest }, tokens.bob)
    expect(await allowed(service, 'bob')).toBe(true)
    await service.stop()
  })

  test('waits for approval where it touches data that asks for it, however it comes', async () => {
    const service = await start({ dataApprovals: [{ root: 'users' }] })
    const { digest } = (await push(service, await archiveOf({ ...byData, 'data.json': '{"users":{}}' }))).json
    await admin(service, 'POST', '/v1/bundles/main/approve', { digest }, tokens.bob)
    // The same value in other words is no change, and other data is free.
    expect((await push(service, await archiveOf({ ...byData, 'data.json': '{"users": {}, "hours":1}' }))).json.active).toBe(true)
    expect((await change(service, '2', grantBob)).json.status).toBe('held')
    expect((await push(service, await archiveOf({ ...byData, 'data.json': '{"users":{"eve":{"active":true}}}' }))).json.status).toBe('held')
    expect((await push(service, await archiveOf({ ...byData, 'data.json': '{}' }))).json.status).toBe('held')
    expect(await allowed(service, 'bob')).toBe(false)
    await service.stop()
  })

  test.each([
    ['a path that is not there', [{ op: 'remove', path: '/users/none' }], 400, 'ERR_BUNDLE_DATA'],
    ['no list', { op: 'remove', path: '/users' }, 400, 'ERR_INVALID_REQUEST'],
    ['an operation that there is not', [{ op: 'merge', path: '/users' }], 400, 'ERR_INVALID_REQUEST'],
  ])('%s: refused', async (_what, operations, status, code) => {
    const service = await start()
    await push(service, await archiveOf(byData))
    const refused = await change(service, '1', operations)
    expect([refused.status, refused.json.error.code]).toEqual([status, code])
    expect((await change(service, '1', grantBob, tokens.ann)).status).toBe(403)
    expect((await change(service, 'x', grantBob)).status).toBe(400)
    await service.stop()
  })
})

test('every act asks for its role, and for credentials', async () => {
  const service = await start()
  const archive = await archiveOf(onlyAlice)
  const { digest } = (await push(service, archive)).json
  const routes = [
    ['PUT', '/v1/bundles/main', archive, tokens.eve],
    ['POST', '/v1/bundles/main/approve', { digest }, tokens.ann],
    ['POST', '/v1/bundles/main/signatures', { digest, envelope: {} }, tokens.eve],
    ['POST', '/v1/bundles/main/activate', { digest }, tokens.ann],
    ['POST', '/v1/bundles/main/rollback', {}, tokens.ann],
    ['POST', '/v1/bundles/main/compare', { from: digest, to: digest }, tokens.ann],
    ['POST', '/v1/bundles/gc', {}, tokens.ann],
    ['PUT', '/v1/bundles/main/shadow', { digest }, tokens.ann],
    ['DELETE', '/v1/bundles/main/shadow', undefined, tokens.ann],
    ['GET', '/v1/bundles/main/archive', undefined, tokens.bob],
    ['GET', `/v1/bundles/main/revisions/${digest}/archive`, undefined, tokens.bob],
    ['GET', '/v1/acts', undefined, tokens.bob],
    ['GET', '/v1/events', undefined, tokens.bob],
  ] as const
  for (const [method, path, body, token] of routes) {
    expect([path, (await admin(service, method, path, body, token)).json.error.code]).toEqual([path, 'ERR_FORBIDDEN'])
    expect([path, (await admin(service, method, path, body, 'no-such-token-0123456789')).status]).toEqual([path, 401])
  }
  await service.stop()
})

test('what is active is there with an ETag', async () => {
  const service = await start()
  const archive = await archiveOf(onlyAlice)
  await push(service, archive)
  const headers = { authorization: `Bearer ${tokens.ann}` }
  const first = await fetch(`${service.url}/v1/bundles/main/archive`, { headers })
  expect(Buffer.from(await first.arrayBuffer()).equals(archive)).toBe(true)
  const etag = first.headers.get('etag') as string
  const second = await fetch(`${service.url}/v1/bundles/main/archive`, { headers: { ...headers, 'if-none-match': etag } })
  expect(second.status).toBe(304)
  await service.stop()
})

test('events come as they happen, and go on behind the last one that is known', async () => {
  const service = await start()
  const follow = async (last: string | undefined, count: number) => {
    const headers = { authorization: `Bearer ${tokens.eve}`, ...(last !== undefined && { 'last-event-id': last }) }
    const controller = new AbortController()
    const response = await fetch(`${service.url}/v1/events`, { headers, signal: controller.signal })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    const decoder = new TextDecoder()
    let text = ''
    for await (const part of response.body as AsyncIterable<Uint8Array>) {
      text += decoder.decode(part, { stream: true })
      if (text.split('\ndata: ').length > count && text.endsWith('\n\n')) break
    }
    controller.abort()
    return [...text.matchAll(/id: (\d+)\nevent: (\w+)\ndata: (.*)\n/g)].map(([, id, event, data]) => [
      id,
      event,
      JSON.parse(data as string).epoch,
    ])
  }
  await push(service, await archiveOf(onlyAlice))
  const next = follow('3', 3)
  await new Promise((resolve) => setTimeout(resolve, 200))
  await push(service, await archiveOf(all))
  expect(await next).toEqual([
    ['4', 'pushed', undefined],
    ['5', 'checked', undefined],
    ['6', 'activated', 2],
  ])
  expect(await follow(undefined, 6)).toHaveLength(6)
  const bad = await fetch(`${service.url}/v1/events`, { headers: { authorization: `Bearer ${tokens.eve}`, 'last-event-id': 'x' } })
  expect(bad.status).toBe(400)
  await service.stop()
})
