// nginx as the bundle server, with bundles that `opa build` and `opa sign` made, where NGINX_PROGRAM and OPA_PROGRAM name the
// programs: pulled, verified, asked for by ETag, rolled back.
import { execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import { admin } from '../support/bundles.ts'
import { freePort } from '../support/ports.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const { NGINX_PROGRAM: nginx, OPA_PROGRAM: opa } = process.env
const withPrograms = nginx === undefined || opa === undefined ? test.skip : test

/** A bundle of one rule, built and signed by OPA. */
function bundleOf(folder: string, condition: string, revision: string): string {
  const sources = join(folder, 'policy')
  mkdirSync(sources, { recursive: true })
  writeFileSync(join(sources, 'p.rego'), `package p\n\nallow if ${condition}\n`)
  const file = join(folder, `${revision}.tar.gz`)
  const signing = ['--signing-key', join(folder, 'key.pem'), '--signing-alg', 'ES256']
  const build = ['build', '-t', 'wasm', '-e', 'p/allow', '-r', revision, '-o', file, '--bundle', sources]
  execFileSync(opa as string, ['sign', '--bundle', ...signing, '-o', sources, sources])
  execFileSync(opa as string, [...build, ...signing, '--verification-key', join(folder, 'key.pub')])
  return file
}

async function until(what: () => Promise<boolean>): Promise<void> {
  for (let left = 200; !(await what()); left--) {
    if (left === 0) throw new Error('it did not happen')
    await sleep(50)
  }
}

withPrograms(
  'a bundle from nginx',
  async () => {
    const folder = tempFolder()
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    writeFileSync(join(folder, 'key.pem'), privateKey.export({ type: 'sec1', format: 'pem' }))
    writeFileSync(join(folder, 'key.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
    const port = await freePort()
    const www = join(folder, 'www')
    mkdirSync(www)
    const served = join(www, 'bundle.tar.gz')
    const publish = (file: string) => {
      writeFileSync(`${served}.new`, readFileSync(file))
      renameSync(`${served}.new`, served)
    }
    const log = join(folder, 'access.log')
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log; events {}
http { log_format status '$status'; access_log ${log} status; client_body_temp_path ${folder}/tmp; proxy_temp_path ${folder}/tmp;
  fastcgi_temp_path ${folder}/tmp; uwsgi_temp_path ${folder}/tmp; scgi_temp_path ${folder}/tmp;
  server { listen 127.0.0.1:${port}; root ${www}; } }`,
    )
    publish(bundleOf(folder, 'input.subject.id == "alice"', 'r1'))
    const server = spawn(nginx as string, ['-p', folder, '-c', 'nginx.conf'])
    // The name that OPA gives a key that nobody named.
    const keys = [{ id: 'default', algorithm: 'ES256', file: join(folder, 'key.pub') }]
    const pull = { url: `http://127.0.0.1:${port}/bundle.tar.gz`, minDelayMs: 100, maxDelayMs: 200 }
    let service: TestService | undefined
    try {
      const running = await startTestService(undefined, { keys, bundles: [{ name: 'main', signature: { required: true }, pull }] })
      service = running
      const allows = async (id: string) => (await running.decide({ ...question, subject: { type: 'user', id } })).json.decision === true
      await until(() => allows('alice'))
      await until(async () => readFileSync(log, 'utf8').includes('304'))
      // Another signature than it should have: what answers stays.
      const second = bundleOf(folder, 'input.subject.id != "carol"', 'r2')
      const broken = readFileSync(second)
      broken[broken.length - 20] = (broken[broken.length - 20] as number) ^ 1
      writeFileSync(join(folder, 'broken.tar.gz'), broken)
      publish(join(folder, 'broken.tar.gz'))
      await sleep(500)
      expect([await allows('alice'), await allows('bob')]).toEqual([true, false])
      publish(second)
      // One recorded answer would change, so somebody has to look.
      const held = async () => (await admin(running, 'GET', '/v1/bundles/main')).json.revisions[0]
      await until(async () => (await held()).revision === 'r2' && (await held()).status === 'held')
      const { digest, pushed_by, signed_by } = await held()
      expect([pushed_by, signed_by]).toEqual([`pull:127.0.0.1:${port}`, ['default']])
      await admin(running, 'POST', '/v1/bundles/main/approve', { digest })
      expect(await allows('bob')).toBe(true)
      server.kill('SIGKILL')
      expect((await admin(running, 'POST', '/v1/bundles/main/rollback', {})).json.epoch).toBe(3)
      expect([await allows('alice'), await allows('bob')]).toEqual([true, false])
    } finally {
      server.kill('SIGKILL')
      await service?.stop()
    }
  },
  60_000,
)
