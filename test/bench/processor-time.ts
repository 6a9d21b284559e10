// What a request costs the service, where the load is slower than it: the processor time of its process. Needs Linux.
import { readFileSync } from 'node:fs'

export interface Measured {
  readonly perSecond: number
  /** For a request. Microseconds. */
  readonly cpuUs: number
}

/** Microseconds of processor time that a process has used; a tick is a hundredth of a second. */
function processorUs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** @param ask sends the request of a number, each number once */
export async function processorTime(
  pid: number,
  ask: (i: number) => Promise<void>,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<Measured> {
  let count = 0
  let isRunning = true
  const run = async (i: number) => {
    for (; isRunning; i += connections) {
      await ask(i)
      count++
    }
  }
  const [began, before] = [performance.now(), processorUs(pid)]
  const running = Array.from({ length: connections }, (_, i) => run(i))
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
  isRunning = false
  await Promise.all(running)
  const s = (performance.now() - began) / 1_000
  return { perSecond: count / s, cpuUs: (processorUs(pid) - before) / count }
}
