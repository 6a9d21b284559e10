// What of a record who may read: masks of the configuration and of the bundle, pseudonyms, encrypted values and their erasure. Whatever is
// replaced, the log verifies.
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../src/audit/record-schema.ts'
import { parseVerifier } from '../src/audit/tree/note.ts'
import { verifyLog } from '../src/audit/verify-log.ts'
import { runCli } from './support/cli.ts'
import { startTestService, type TestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const rego =
  'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": input.context.amount > 1, "reasons": ["card 1234"], "obligations": [{"id": "o", "card": "1234"}]}\n'
const ask = (service: TestService, more: object = {}) =>
  service.decide({
    subject: { type: 'user', id: 'alice', properties: { ssn: '078-05-1120' } },
    action: { name: 'pay' },
    resource: { type: 'account', id: 'a1' },
    context: { amount: 12.5, big: '12345678901234567890', password: 'canary' },
    ...more,
  })
const folderOf = ({ state }: TestService) => join(state, 'decisions')
const verifies = (service: TestService) => {
  const keys = readFileSync(join(folderOf(service), 'tree/log.vkey'), 'utf8')
    .trim()
    .split('\n')
    .map(parseVerifier)
  expect(verifyLog({ folder: folderOf(service), keys }).faults).toEqual([])
}
const isRecord = (record: object | undefined) => expect(recordSchema.strict().safeParse(record).error).toBeUndefined()

describe('rules of the bundle', () => {
  const log = (rules: string) => ({ 'p.rego': rego, 'log.rego': `package system.log\n\n${rules}` })
  const entrypoint = '# METADATA\n# entrypoint: true\n'

  test('mask what they name, and replace what they say; the policy is asked without being named', async () => {
    const service = await startTestService(
      log(`${entrypoint}mask contains "/input/context/password" if input.path == "p/decision"

mask contains {"op": "upsert", "path": "/input/subject/properties/ssn", "value": "***"} if input.input.subject.type == "user"

mask contains "/result/obligations"
`),
    )
    const { json } = await ask(service)
    expect(json).toMatchObject({ decision: true, context: { obligations: [{ card: '1234' }] } })
    const [record] = await service.stop()
    isRecord(record)
    expect(record).toMatchObject({
      subject: { id: 'alice', properties: { ssn: '***' } },
      input: { subject: { properties: { ssn: '***' } }, context: { amount: 12.5, password: null } },
      obligations: null,
      reasons: ['card 1234'],
      replayable: 'masked',
    })
    expect(new Set(record?.masked as string[])).toEqual(
      new Set(['/input/context/password', '/input/subject/properties/ssn', '/obligations']),
    )
    verifies(service)
  })

  test('drop leaves that there was a decision', async () => {
    const service = await startTestService(log(`${entrypoint}drop if input.result.decision == false\n`))
    await ask(service, { context: { amount: 0, password: 'canary' } })
    await ask(service)
    const [denied, allowed] = await service.stop()
    isRecord(denied)
    expect(denied).toMatchObject({
      dropped: true,
      outcome: 'deny',
      subject: null,
      input: null,
      reasons: null,
      policy: { entrypoint: 'p/decision' },
    })
    expect(allowed).toMatchObject({ subject: { id: 'alice' }, masked: [], replayable: true })
    expect(JSON.stringify(denied)).not.toContain('canary')
  })

  test.each([
    ['that are no pointers', 'mask contains 5\n'],
    ['that name what there is not', 'mask contains "/labels"\n'],
    ['that are no set', 'mask := "all"\n'],
    ['of an unknown operation', 'mask contains {"op": "copy", "path": "/input"}\n'],
  ])('%s hide everything', async (_what, rules) => {
    const service = await startTestService(log(`${entrypoint}${rules}`))
    expect((await ask(service)).json.decision).toBe(true)
    const [record] = await service.stop()
    isRecord(record)
    expect(record).toMatchObject({ dropped: true, outcome: 'allow', input: null })
    expect(JSON.stringify(record)).not.toContain('canary')
  })
})

test('pseudonyms join what is of one value, by the secret alone', async () => {
  const files = tempFolder({ secret: `${'s'.repeat(40)}\n` })
  const service = await startTestService(
    { 'p.rego': rego },
    { 'decisionLog.pseudonyms': { keyFile: `${files}/secret`, pointers: ['/subject/id', '/input/context/*'] } },
  )
  await ask(service)
  await ask(service)
  const [first, second] = await service.stop()
  isRecord(first)
  const expected = `hmac-sha256:${createHmac('sha256', 's'.repeat(40)).update('"alice"').digest('base64url')}`
  expect([first, second].map((record) => (record as { subject: { id: string } }).subject.id)).toEqual([expected, expected])
  expect(first?.input).toMatchObject({
    subject: { id: expected, type: 'user' },
    context: { amount: expect.stringMatching(/^hmac-sha256:/) },
  })
  expect(JSON.stringify(first)).not.toContain('canary')
})

describe('encrypted values', () => {
  const pairs = {
    ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    rsa: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
    other: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  }
  const files = () =>
    tempFolder(
      Object.fromEntries(
        Object.entries(pairs).flatMap(([name, { publicKey, privateKey }]) => [
          [`${name}.pub`, publicKey.export({ type: 'spki', format: 'pem' }) as string],
          [`${name}.pem`, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string],
        ]),
      ),
    )

  test('are read by each recipient and by nobody else, and by nobody when the key is destroyed', async () => {
    const keys = files()
    const encryption = {
      pointers: ['/subject/properties', '/input/context'],
      recipients: ['ec', 'rsa'].map((id) => ({ id, file: `${keys}/${id}.pub` })),
    }
    const service = await startTestService({ 'p.rego': rego }, { 'decisionLog.encryption': encryption })
    await ask(service)
    const [record] = await service.stop()
    isRecord(record)
    for (const secret of ['canary', '078-05-1120', '12.5']) expect(JSON.stringify(record)).not.toContain(secret)
    expect(record).toMatchObject({ subject: { id: 'alice', properties: expect.stringMatching(/^eyJ[\w-]+\.\./) } })
    const decrypt = (name: string) => runCli(['log', 'decrypt', folderOf(service), '--key', `${keys}/${name}.pem`])
    for (const name of ['ec', 'rsa']) {
      const { stdout, stderr } = await decrypt(name)
      const clear = JSON.parse(stdout)
      expect(clear.input.context).toEqual({ amount: 12.5, big: '12345678901234567890', password: 'canary' })
      expect([clear.subject.properties, clear.input.subject.properties]).toEqual([{ ssn: '078-05-1120' }, { ssn: '078-05-1120' }])
      expect(stderr).toBe('3 values in clear\n')
    }
    expect((await decrypt('other')).stderr).toBe('0 values in clear, 3 that these keys do not open\n')
    verifies(service)
    const folder = join(folderOf(service), 'keys')
    expect(readdirSync(folder)).toHaveLength(1)
    rmSync(join(folder, readdirSync(folder)[0] as string))
    expect((await decrypt('ec')).stderr).toBe('0 values in clear, 3 that these keys do not open\n')
    verifies(service)
  })

  test('have another key after a while, and after a restart', async () => {
    const keys = files()
    const encryption = { pointers: ['/input/context'], recipients: [{ id: 'ec', file: `${keys}/ec.pub` }], rotateMs: 1_000 }
    const first = await startTestService({ 'p.rego': rego }, { 'decisionLog.encryption': encryption })
    await ask(first)
    await new Promise((resolve) => setTimeout(resolve, 1_300))
    await ask(first)
    await first.stop()
    const second = await startTestService({ 'p.rego': rego }, { 'decisionLog.encryption': encryption, state: first.state })
    await ask(second)
    const records = await second.stop()
    const headers = records.map((record) => (record.input as { context: string }).context.split('.')[0] as string)
    expect(new Set(headers).size).toBe(3)
    const { stdout, stderr } = await runCli(['log', 'decrypt', folderOf(second), '--key', `${keys}/ec.pem`])
    expect(stderr).toBe('3 values in clear\n')
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).input.context.password),
    ).toEqual(['canary', 'canary', 'canary'])
  })

  test('are gone for everybody when their key is destroyed, so long after it was used', async () => {
    const keys = files()
    const recipients = [{ id: 'ec', file: `${keys}/ec.pub` }]
    const encryption = { pointers: ['/input/context'], recipients, rotateMs: 1_000, keepMs: 2_000 }
    const service = await startTestService({ 'p.rego': rego }, { 'decisionLog.encryption': encryption })
    await ask(service)
    const [firstKey] = readdirSync(join(folderOf(service), 'keys')) as [string]
    await new Promise((resolve) => setTimeout(resolve, 2_300))
    expect(readdirSync(join(folderOf(service), 'keys'))).toContain(firstKey)
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    await ask(service)
    const left = readdirSync(join(folderOf(service), 'keys'))
    expect(left).not.toContain(firstKey)
    expect(left.length).toBeGreaterThan(1)
    await service.stop()
    const { stderr } = await runCli(['log', 'decrypt', folderOf(service), '--key', `${keys}/ec.pem`])
    expect(stderr).toBe('1 values in clear, 1 that these keys do not open\n')
    verifies(service)
  })

  test.each([
    ['a private key', 'private'],
    ['a key to sign with', 'ed25519'],
    ['no key', 'none'],
  ])('are not begun with %s', async (_what, kind) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const text =
      kind === 'none'
        ? 'x'
        : kind === 'private'
          ? (privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
          : (publicKey.export({ type: 'spki', format: 'pem' }) as string)
    const keys = tempFolder({ key: text })
    const encryption = { pointers: ['/input'], recipients: [{ id: 'a', file: `${keys}/key` }] }
    await expect(startTestService({ 'p.rego': rego }, { 'decisionLog.encryption': encryption })).rejects.toMatchObject({
      code: 'ERR_CONFIG_INVALID',
    })
  })
})
