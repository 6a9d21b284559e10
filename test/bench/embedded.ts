// Decisions a second in the embedded mode, one core, every one with a record that the service takes: one call after another, the cache
// off and on; and how many records a second the service takes, on another core.
//   npm run bench:embedded            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:embedded -- --quick one short round, prints only
// Needs Linux and taskset. The service runs on core 0, the deciding process on core 1.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { createEmbedded, type Embedded } from '../../src/embedded/index.ts'
import { abacQuestion } from './abac.ts'
import { folder, spread, startVerdict, writeReport } from './servers.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const count = quick ? 10_000 : 200_000
const toldCount = quick ? 10_000 : 100_000
/** As many come at once, and so long they have to be told. */
const [burst, pauseMs] = [2_000, 150]

const { http } = await startVerdict()
execFileSync('taskset', ['-acp', '1', String(process.pid)])
const token = readFileSync(join(folder, `state-${http}`, 'admin.token'), 'utf8').trim()
const questions = Array.from({ length: 500 }, (_, i) => abacQuestion(i))

function open(cacheBytes: number): Promise<Embedded> {
  return createEmbedded({
    urls: [`http://127.0.0.1:${http}`],
    token,
    bundles: [{ name: 'main' }],
    cacheBytes,
    maxUntoldBytes: 2 ** 30,
    boundMs: 60_000,
    onError: (error) => process.stderr.write(`${error.message}\n`),
  })
}

/** Decisions a second. */
async function measure(cacheBytes: number): Promise<number> {
  const embedded = await open(cacheBytes)
  /** Milliseconds that the decisions took. */
  const run = async (n: number) => {
    let ms = 0
    for (let done = 0; done < n; done += burst) {
      const began = performance.now()
      for (let i = 0; i < burst; i++) {
        const { decision } = await embedded.decide(questions[i % questions.length] as (typeof questions)[number])
        if (!decision) throw new Error('not as it should be')
      }
      ms += performance.now() - began
      // What they say is told meanwhile.
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    return ms
  }
  await run(20 * burst)
  const made = count / ((await run(count)) / 1_000)
  if (embedded.counts.service > 0) throw new Error('the service decided')
  await embedded.close()
  return made
}

/** Records a second that the service takes of one process that never waits. */
async function taken(): Promise<number> {
  const embedded = await open(0)
  const began = performance.now()
  for (let i = 0; i < toldCount; i++) {
    await embedded.decide(questions[i % questions.length] as (typeof questions)[number])
    if (i % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  if (embedded.counts.service > 0) throw new Error('the service decided')
  await embedded.close()
  return toldCount / ((performance.now() - began) / 1_000)
}

const [uncached, again, told]: [number[], number[], number[]] = [[], [], []]
for (let round = 0; round < rounds; round++) {
  uncached.push(await measure(0))
  again.push(await measure(16 * 2 ** 20))
  told.push(await taken())
}
const report = `${spread(uncached)} decisions a second made anew, ${spread(again)} with the cache, by \`decide()\` in the asking process, one call after another,
in bursts of ${burst.toLocaleString('en')}. Of a process that never waits, the service takes ${spread(told)} records a second.
Median of ${rounds} rounds of ${count.toLocaleString('en')} questions of the small policy. Machine: ${cpus()[0]?.model.replace(/ Processor.*/, '')}, Node.js ${process.versions.node}; service on core 0, the deciding process on core 1.`
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:embedded', report)
process.exit(0)
