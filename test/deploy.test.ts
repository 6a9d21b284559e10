// What operators get in deploy/: rules, dashboards and files for containers speak of metrics and settings that there are, each alert has a
// page and a test; and where PROMETHEUS_PROGRAM and PROMTOOL_PROGRAM name them, the same stack runs from the machine's own programs.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { loadConfig } from '../src/config.ts'
import { prometheusName } from '../src/telemetry/exposition.ts'
import { type InstrumentName, instruments } from '../src/telemetry/metrics.ts'
import { freePort } from './support/ports.ts'
import { metricsOf, question, startTestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const root = resolve(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const yaml = (path: string) => parse(read(path))
const { PROMTOOL_PROGRAM: promtool, PROMETHEUS_PROGRAM: prometheus } = process.env
const names = new Set(
  (Object.keys(instruments) as InstrumentName[]).flatMap((name) => {
    const known = prometheusName(name)
    return instruments[name].kind === 'histogram' ? [`${known}_bucket`, `${known}_sum`, `${known}_count`] : [known]
  }),
)
const metricsIn = (text: string) => [...text.matchAll(/\b(?:verdict|process|http|rpc)_[a-z_0-9]+/g)].map(([name]) => name)
const stops: (() => void)[] = []
afterAll(() => {
  for (const stop of stops) stop()
})

interface Rule {
  readonly alert?: string
  readonly expr: string
  readonly annotations?: { readonly runbook_url: string }
}
const rules = (yaml('deploy/prometheus/verdict.rules.yml').groups as { rules: Rule[] }[]).flatMap((group) => group.rules)

describe('rules', () => {
  test.each(rules.filter(({ alert }) => alert !== undefined))(
    '$alert has a page, a test in both directions, and metrics that there are',
    ({ alert, expr, annotations }) => {
      expect(annotations?.runbook_url).toBe(`docs/runbooks/${alert}.md`)
      expect(read(`docs/runbooks/${alert}.md`)).toMatch(/^# \w+\n[\s\S]+\n## Look\n[\s\S]+\n## Do\n/)
      const tests = (
        yaml('deploy/prometheus/verdict.rules.test.yml').tests as { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[]
      )
        .flatMap(({ alert_rule_test }) => alert_rule_test)
        .filter(({ alertname }) => alertname === alert)
      expect(tests.some(({ exp_alerts }) => exp_alerts.length > 0)).toBe(true)
      expect(tests.some(({ exp_alerts }) => exp_alerts.length === 0)).toBe(true)
      expect(metricsIn(expr).filter((name) => !names.has(name))).toEqual([])
    },
  )

  const withPromtool = promtool === undefined ? test.skip : test
  withPromtool('pass their tests', () => {
    const folder = join(root, 'deploy/prometheus')
    execFileSync(promtool as string, ['check', 'rules', 'verdict.rules.yml'], { cwd: folder })
    execFileSync(promtool as string, ['test', 'rules', 'verdict.rules.test.yml'], { cwd: folder })
  })
})

test('the dashboard shows metrics that there are, from the data source that is provisioned', () => {
  const dashboard = JSON.parse(read('deploy/grafana/dashboards/verdict.json'))
  const targets = (dashboard.panels as { targets: { expr: string; datasource: { uid: string } }[] }[]).flatMap(({ targets }) => targets)
  expect(targets.length).toBeGreaterThan(25)
  expect(targets.flatMap(({ expr }) => metricsIn(expr)).filter((name) => !names.has(name))).toEqual([])
  const [source] = yaml('deploy/grafana/provisioning/datasources/prometheus.yml').datasources
  expect(new Set(targets.map(({ datasource }) => datasource.uid))).toEqual(new Set([source.uid]))
})

test('the files of the containers are there, and the service takes its configuration', () => {
  const { services, secrets } = yaml('docker-compose.yml')
  const mounts = (Object.values(services) as { volumes?: string[] }[])
    .flatMap(({ volumes = [] }) => volumes)
    .map((one) => one.split(':')[0] as string)
  for (const path of mounts.filter((one) => one.startsWith('.'))) expect([path, existsSync(join(root, path))]).toEqual([path, true])
  expect(existsSync(join(root, services.verdict.build.dockerfile))).toBe(true)
  expect(Object.keys(secrets)).toEqual(['gateway_token', 'metrics_token'])
  const config = loadConfig({ file: join(root, 'deploy/compose/verdict.yml'), env: {} })
  expect(config.server.hosts).toContain('verdict')
  expect(config.decisionLog.sinks).toHaveLength(1)
})

test('links of the documentation lead somewhere', () => {
  const pages = [
    'README.md',
    ...readdirSync(join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
    ...readdirSync(join(root, 'docs/runbooks')).map((name) => `docs/runbooks/${name}`),
  ]
  const broken = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)]
      .map(([, target]) => target as string)
      .filter((target) => !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  )
  expect(broken).toEqual([])
})

const withPrometheus = prometheus === undefined || promtool === undefined ? test.skip : test
withPrometheus(
  'Prometheus takes what the service tells, and its rules see it',
  async () => {
    const service = await startTestService({
      'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n',
    })
    const token = readFileSync(join(service.state, 'admin.token'), 'utf8').trim()
    const traceparent = `00-${'d'.repeat(32)}-${'b'.repeat(16)}-01`
    for (let i = 0; i < 5; i++)
      await service.decide({ ...question, subject: { type: 'user', id: i === 0 ? 'bob' : 'alice' } }, { traceparent })
    execFileSync(promtool as string, ['check', 'metrics'], { input: await metricsOf(service) })
    const folder = tempFolder({ token })
    const scraped = yaml('deploy/prometheus/prometheus.yml')
    scraped.global = { scrape_interval: '1s', evaluation_interval: '1s' }
    scraped.rule_files = [join(root, 'deploy/prometheus/verdict.rules.yml')]
    scraped.scrape_configs[0].authorization.credentials_file = join(folder, 'token')
    scraped.scrape_configs[0].static_configs[0].targets = [new URL(service.url).host]
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(scraped))
    const port = await freePort()
    const args = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`]
    args.push('--enable-feature=exemplar-storage')
    const child = spawn(prometheus as string, args, { stdio: 'ignore' })
    stops.push(() => void child.kill('SIGKILL'))
    const query = async (expr: string): Promise<string | undefined> => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expr)}`).catch(() => undefined)
      const json = (await answer?.json().catch(() => undefined)) as { data?: { result: { value: [number, string] }[] } } | undefined
      return json?.data?.result[0]?.value[1]
    }
    let allowed: string | undefined
    for (let left = 100; left > 0 && allowed === undefined; left--) {
      await sleep(200)
      allowed = await query('sum(verdict_decisions_total{outcome="allow"})')
    }
    expect(allowed).toBe('4')
    expect(await query('sum(verdict_decisions_total{outcome="deny"})')).toBe('1')
    expect(await query('up{job="verdict"}')).toBe('1')
    const exemplars = `query=verdict_decision_duration_seconds_bucket&start=${Date.now() / 1_000 - 60}&end=${Date.now() / 1_000 + 60}`
    const told = await fetch(`http://127.0.0.1:${port}/api/v1/query_exemplars?${exemplars}`).then((answer) => answer.text())
    expect(told).toContain(`"trace_id":"${'d'.repeat(32)}"`)
    expect(await query('histogram_quantile(0.99, sum by (le) (verdict_decision_duration_seconds_bucket)) < 1')).toBeDefined()
    // A service that is gone is what an alert is for.
    await service.stop()
    let pending: string | undefined
    for (let left = 100; left > 0 && pending === undefined; left--) {
      await sleep(200)
      pending = await query('ALERTS{alertname="VerdictDown"}')
    }
    expect(pending).toBe('1')
  },
  60_000,
)
