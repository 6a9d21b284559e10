// The stack of docker-compose.yml from the machine's own programs, with its configurations: nginx in front of the sample service, Verdict
// deciding, Prometheus watching, and in the collector's place a server that takes what it is sent. Where NGINX_PROGRAM and
// PROMETHEUS_PROGRAM name the programs.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from '@jest/globals'
import { serveCli } from '../support/cli.ts'
import { freePort, untilUp } from '../support/ports.ts'
import { tempFolder } from '../support/temp-folder.ts'

const deploy = new URL('../../deploy', import.meta.url).pathname
const { NGINX_PROGRAM: nginx, PROMETHEUS_PROGRAM: prometheus } = process.env
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})
const start = (program: string, args: readonly string[]) => children.push(spawn(program, args, { stdio: 'ignore' }))

/** A configuration of the stack as it is, but for the names of its machines and the places of its files. */
function rendered(path: string, replacements: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(deploy, path), 'utf8')
  for (const [from, to] of Object.entries(replacements)) {
    expect([path, text.includes(from)]).toEqual([path, from !== ''])
    text = text.replaceAll(from, to)
  }
  return text
}

const withPrograms = nginx === undefined || prometheus === undefined ? test.skip : test
withPrograms(
  'a request is decided about, measured and recorded',
  async () => {
    const folder = tempFolder()
    cpSync(join(deploy, 'compose/make-secrets.sh'), join(folder, 'make-secrets.sh'))
    execFileSync('sh', [join(folder, 'make-secrets.sh')])
    const secrets = join(folder, 'secrets')
    const [, token] = /^GATEWAY_TOKEN=(\S+)\n$/.exec(readFileSync(join(secrets, 'nginx.env'), 'utf8')) as unknown as [string, string]

    const got: string[] = []
    const collector = createServer((request, response) => {
      got.push(request.url ?? '')
      request.resume().on('end', () => response.end('{}'))
    })
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
    const verdictConfig = rendered('compose/verdict.yml', {
      'hosts: [verdict]': 'hosts: [verdict, 127.0.0.1]',
      'host: 0.0.0.0': 'host: 127.0.0.1',
      '/policies': join(deploy, 'examples/nginx/policy'),
      '/run/secrets': secrets,
      '["172.16.0.0/12"': '["127.0.0.0/8", "172.16.0.0/12"',
      'http://collector:4318': `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    })
    writeFileSync(join(folder, 'verdict.yml'), `${verdictConfig.replace('telemetry: {', 'telemetry: { intervalMs: 1000,')}`)
    const { url, child, ended } = await serveCli(['--config', join(folder, 'verdict.yml'), '--state', join(folder, 'state')])
    const at = new URL(url).host

    const [gatewayPort, samplePort, prometheusPort] = [await freePort(), await freePort(), await freePort()]
    writeFileSync(
      join(folder, 'gateway.conf'),
      rendered('compose/nginx.conf.template', {
        'verdict:8181': at,
        'listen 8080': `listen 127.0.0.1:${gatewayPort}`,
        'sample:8080': `127.0.0.1:${samplePort}`,
        '\u0024{GATEWAY_TOKEN}': token,
      }),
    )
    writeFileSync(join(folder, 'sample.conf'), rendered('compose/sample.conf', { 'listen 8080': `listen 127.0.0.1:${samplePort}` }))
    mkdirSync(join(folder, 'tmp'))
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/tmp/${name};`)
      .join(' ')
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; events {}\nhttp { access_log off; ${temporary} include ${folder}/gateway.conf; include ${folder}/sample.conf; }\n`,
    )
    start(nginx as string, ['-p', folder, '-c', join(folder, 'nginx.conf')])

    cpSync(join(deploy, 'prometheus/verdict.rules.yml'), join(folder, 'verdict.rules.yml'))
    const scrape = { 'verdict:8181': at, '/run/secrets': secrets, 'scrape_interval: 5s': 'scrape_interval: 1s' }
    writeFileSync(join(folder, 'prometheus.yml'), rendered('prometheus/prometheus.yml', scrape))
    const command = readFileSync(join(deploy, '../docker-compose.yml'), 'utf8').match(/--enable-feature=\S+(?=\])/)?.[0] as string
    const listen = `--web.listen-address=127.0.0.1:${prometheusPort}`
    start(prometheus as string, [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, listen, command])

    const gateway = `http://127.0.0.1:${gatewayPort}`
    await untilUp(`${gateway}/public/hello`)
    const hello = await fetch(`${gateway}/public/hello`, { headers: { 'x-subject': 'root' } })
    expect([hello.status, await hello.text()]).toEqual([200, 'hello, anonymous\n'])
    expect((await fetch(`${gateway}/private`)).status).toBe(403)

    const query = async (expr: string) => {
      const answer = await fetch(`http://127.0.0.1:${prometheusPort}/api/v1/query?query=${encodeURIComponent(expr)}`).catch(() => undefined)
      const json = (await answer?.json().catch(() => undefined)) as { data?: { result: { value: [number, string] }[] } } | undefined
      return json?.data?.result[0]?.value[1]
    }
    const arrived = (path: string) => got.includes(path)
    for (let left = 300; left > 0; left--) {
      if (arrived('/v1/logs') && arrived('/v1/metrics') && (await query('sum(verdict_decisions_total{outcome="deny"})')) !== undefined)
        break
      await sleep(100)
    }
    expect(await query('up{job="verdict"}')).toBe('1')
    expect(await query('sum(verdict_decisions_total{outcome="deny"})')).toBe('1')
    expect([...new Set(got)].sort()).toEqual(['/v1/logs', '/v1/metrics'])
    child.kill('SIGTERM')
    expect((await ended).code).toBe(0)
    collector.closeAllConnections()
    collector.close()
  },
  90_000,
)
