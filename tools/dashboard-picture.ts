// A picture of the dashboard with real data, without Grafana: a service under load for two minutes, watched by Prometheus, asked what each
// panel of deploy/grafana asks, SVG on stdout.
//   node tools/dashboard-picture.ts > docs/dashboard.svg        PROMETHEUS_PROGRAM names Prometheus (default: prometheus)
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, untilUp } from '../test/support/ports.ts'

const root = new URL('../', import.meta.url).pathname
const colours = ['#73bf69', '#f2cc0c', '#5794f2', '#ff9830', '#f2495c', '#b877d9', '#8ab8ff', '#ffcb7d']
/** Series in a legend. */
const maxNamed = 6
const seconds = Number(process.argv[2] ?? 120)
const folder = mkdtempSync(join(tmpdir(), 'verdict-dashboard-'))
const children: ChildProcess[] = []
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

interface Panel {
  readonly type: 'stat' | 'timeseries'
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly fieldConfig: { readonly defaults: { readonly unit: string } }
  readonly targets: readonly { readonly expr: string; readonly legendFormat?: string }[]
}

interface Series {
  readonly name: string
  readonly points: readonly (readonly [number, number])[]
}

const { panels } = JSON.parse(readFileSync(`${root}deploy/grafana/dashboards/verdict.json`, 'utf8')) as { panels: Panel[] }
const url = await startService()
const prometheus = await startPrometheus(url)
const began = Date.now()
await load(url, began + seconds * 1_000)
process.stdout.write(await picture())
process.exit(0)

async function startService(): Promise<string> {
  const port = await freePort()
  const args = [
    'serve',
    '--bundle',
    `${root}policies`,
    '--port',
    `${port}`,
    '--grpc-port',
    `${await freePort()}`,
    '--state',
    `${folder}/state`,
  ]
  children.push(spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `${root}src/main.ts`, ...args], { stdio: 'ignore' }))
  await untilUp(`http://127.0.0.1:${port}/readyz`)
  return `http://127.0.0.1:${port}`
}

async function startPrometheus(service: string): Promise<string> {
  const config = readFileSync(`${root}deploy/prometheus/prometheus.yml`, 'utf8')
    .replace('/run/secrets/metrics_token', `${folder}/state/admin.token`)
    .replace('verdict:8181', new URL(service).host)
    .replace('verdict.rules.yml', `${root}deploy/prometheus/verdict.rules.yml`)
    .replace('scrape_interval: 5s', 'scrape_interval: 1s')
  writeFileSync(`${folder}/prometheus.yml`, config)
  const at = `127.0.0.1:${await freePort()}`
  const args = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=${at}`]
  children.push(spawn(process.env.PROMETHEUS_PROGRAM ?? 'prometheus', args, { stdio: 'ignore' }))
  await untilUp(`http://${at}/-/ready`)
  return `http://${at}`
}

/** The users of the starter policies in waves, some of them denied, a few who ask for what is not there. */
async function load(service: string, untilMs: number): Promise<void> {
  const ask = (path: string, body: object) =>
    fetch(`${service}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }).then(
      (response) => response.text(),
      () => {},
    )
  for (let turn = 0; Date.now() < untilMs; turn++) {
    const wave = 1 + Math.sin((Date.now() - began) / 9_000)
    const question = (i: number) => ({
      subject: { type: 'user', id: pick(['alice', 'bob', 'carol', 'dave', 'mallory'], turn + i) },
      action: { name: pick(['read', 'read', 'read', 'update', 'share'], turn * 3 + i) },
      resource: { type: 'document', id: pick(['roadmap', 'handbook', 'notes', 'handbook', 'salaries'], turn * 7 + i * 2) },
      ...(i === 7 && turn % 20 === 0 && { policy: 'main:not/there' }),
    })
    const count = 3 + Math.round(8 * wave)
    const asked = Array.from({ length: count }, (_, i) =>
      i % 5 === 0 ? ask('/v1/data/authz/decision', { input: question(i) }) : ask('/v1/decide', question(i)),
    )
    if (turn % 4 === 0) asked.push(ask('/access/v1/evaluation', question(turn)))
    await Promise.all(asked)
    await sleep(40)
  }
}

function pick(values: readonly string[], at: number): string {
  return values[at % values.length] as string
}

async function ask({ expr, legendFormat = '' }: Panel['targets'][number]): Promise<Series[]> {
  const query = expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '10s')
  const range = `start=${began / 1_000 + 10}&end=${Date.now() / 1_000}&step=1`
  const answer = await fetch(`${prometheus}/api/v1/query_range?query=${encodeURIComponent(query)}&${range}`)
  const { data } = (await answer.json()) as { data: { result: { metric: Record<string, string>; values: [number, string][] }[] } }
  return data.result.map(({ metric, values }) => ({
    // The port is another each time.
    name: legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => (label === 'instance' ? 'pdp-1' : (metric[label] ?? ''))),
    points: values.map(([time, value]) => [time, Number(value)] as const).filter(([, value]) => Number.isFinite(value)),
  }))
}

async function picture(): Promise<string> {
  const [unitX, unitY, gap] = [54, 26, 8]
  const height = Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) * unitY
  const drawn: string[] = []
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos
    const box = { width: w * unitX - gap, height: h * unitY - gap }
    const series = (await Promise.all(panel.targets.map(ask))).flat()
    const body = panel.type === 'stat' ? stat(panel, series, box) : graph(panel, series, box)
    drawn.push(
      `<g transform="translate(${x * unitX + gap},${y * unitY + gap + 34})"><rect width="${box.width}" height="${box.height}" rx="4" fill="#181b1f"/><text x="10" y="18" fill="#ccccdc" font-weight="600">${escaped(panel.title)}</text>${body}</g>`,
    )
  }
  const width = 24 * unitX + gap
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height + 42}" width="${width}" height="${height + 42}" font-family="Inter, 'DejaVu Sans', Helvetica, Arial, sans-serif" font-size="11">
<title>The dashboard of deploy/grafana: its own queries, answered by Prometheus</title>
<rect width="100%" height="100%" fill="#111217"/><text x="10" y="26" fill="#ccccdc" font-size="16">Verdict</text>
${drawn.join('\n')}
</svg>
`
}

interface Box {
  readonly width: number
  readonly height: number
}

function stat({ fieldConfig }: Panel, series: readonly Series[], { width, height }: Box): string {
  const last = series[0]?.points.at(-1)?.[1]
  const text = last === undefined ? 'no data' : withUnit(last, fieldConfig.defaults.unit)
  return `<text x="${width / 2}" y="${height / 2 + 20}" fill="#73bf69" font-size="28" text-anchor="middle">${escaped(text)}</text>`
}

function graph({ fieldConfig }: Panel, all: readonly Series[], { width, height }: Box): string {
  const series = all.filter(({ points }) => points.length > 0)
  if (series.length === 0) return `<text x="${width / 2}" y="${height / 2}" fill="#8e8e95" text-anchor="middle">No data</text>`
  const times = series.flatMap(({ points }) => points.map(([time]) => time))
  const [from, to] = [Math.min(...times), Math.max(...times)]
  const most = Math.max(...series.flatMap(({ points }) => points.map(([, value]) => value)))
  const top = most <= 0 ? 1 : most * 1.1
  const [left, right, above, below] = [58, 10, 30, 40]
  const px = (time: number) => (left + ((time - from) / Math.max(1, to - from)) * (width - left - right)).toFixed(1)
  const py = (value: number) => (above + (1 - value / top) * (height - above - below)).toFixed(1)
  const grid = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const y = py(top * part)
    const label = withUnit(top * part, fieldConfig.defaults.unit)
    return `<path d="M${left} ${y}H${width - right}" stroke="#2c3235"/><text x="${left - 6}" y="${Number(y) + 4}" fill="#8e8e95" text-anchor="end" font-size="10">${escaped(label)}</text>`
  })
  const lines = series.map(({ points }, i) => {
    const path = points.map(([time, value]) => `${px(time)} ${py(value)}`).join('L')
    return `<path d="M${path}" fill="none" stroke="${colours[i % colours.length]}" stroke-width="1.4"/>`
  })
  let at = left
  const legend = series.slice(0, maxNamed).map(({ name }, i) => {
    const text = name.length > 28 ? `${name.slice(0, 27)}…` : name
    const x = at
    at += 26 + text.length * 6.8
    return at > width
      ? ''
      : `<rect x="${x}" y="${height - 19}" width="12" height="3" fill="${colours[i % colours.length]}"/><text x="${x + 16}" y="${height - 14}" fill="#ccccdc" font-size="10">${escaped(text)}</text>`
  })
  return [...grid, ...lines, ...legend].join('')
}

function withUnit(value: number, unit: string): string {
  const short = (scaled: number) => (scaled === 0 ? '0' : scaled.toPrecision(3).replace(/\.?0+$/, ''))
  const plain = (scaled: number) => (Math.abs(scaled) >= 100 ? Math.round(scaled).toLocaleString('en') : short(scaled))
  switch (unit) {
    case 's':
      return value < 1e-3 ? `${plain(value * 1e6)} µs` : value < 1 ? `${plain(value * 1e3)} ms` : `${plain(value)} s`
    case 'percentunit':
      return `${plain(value * 100)} %`
    case 'bytes':
      return value >= 2 ** 20 ? `${plain(value / 2 ** 20)} MiB` : value >= 1_024 ? `${plain(value / 1_024)} KiB` : `${plain(value)} B`
    case 'reqps':
      return `${plain(value)} /s`
    default:
      return plain(value)
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
