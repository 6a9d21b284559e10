// verdict log replay: recorded decisions made again, and what came out otherwise.
import { dirname, join } from 'node:path'
import { queryLog } from '../audit/query-log.ts'
import { PdpError } from '../errors.ts'
import { LogReplay, type Outcome } from '../log-replay.ts'
import { readInput } from './files.ts'
import { type FilterOptions, filterOf, safe } from './log-query.ts'
import { exitCodes, paint, print, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface ReplayOptions extends FilterOptions {
  readonly limit: string
  readonly archives?: string
  readonly on?: string
  readonly trustedKey: string
}

interface Difference {
  readonly id: string
  readonly before: Outcome
  readonly after: Outcome
}

/** Differences that are listed. */
const maxListed = 100

export async function replay(folder: string, options: ReplayOptions): Promise<void> {
  const { limit, archives = join(dirname(folder), 'bundles'), on, trustedKey, ...given } = options
  if (!/^\d{1,9}$/.test(limit)) throw new PdpError('ERR_USAGE', '--limit must be a number')
  const other = on === undefined ? undefined : { name: on, archive: await readInput(on) }
  const skipped: Record<string, number> = {}
  const differences: Difference[] = []
  const changes: Record<string, number> = {}
  let same = 0
  let different = 0
  await withToolchain(async (toolchain) => {
    const again = new LogReplay(toolchain, archives, trustedKey)
    let made = 0
    for (const { line, record } of queryLog(folder, filterOf(given))) {
      if (made >= Number(limit)) break
      const outcome = await again.replay(line, record, other)
      if (outcome.kind === 'skipped') {
        skipped[outcome.why] = (skipped[outcome.why] ?? 0) + 1
        continue
      }
      made++
      if (outcome.kind === 'same') same++
      else {
        different++
        const { before, after } = outcome
        const change = `${before.outcome} → ${after.outcome}`
        changes[change] = (changes[change] ?? 0) + 1
        if (differences.length < maxListed) differences.push({ id: String(record.id), before, after })
      }
    }
  })
  if (options.json) printJson({ same, different, changes, skipped, differences })
  else {
    for (const { id, before, after } of differences) print(`${id} ${said(before)} → ${said(after)}`)
    print(
      `${paint(different === 0 ? 'green' : 'yellow', `${same.toLocaleString('en')} the same, ${different.toLocaleString('en')} otherwise`)}`,
    )
    for (const [why, count] of Object.entries(skipped)) print(`${count.toLocaleString('en')} not made again: ${safe(why)}`)
  }
  if (different > 0) process.exitCode = exitCodes.no
}

function said({ outcome, reasons, code }: Outcome): string {
  return `${outcome}${code === undefined ? '' : ` ${code}`}${reasons === undefined ? '' : ` ${safe(reasons)}`}`
}
