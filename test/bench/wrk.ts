// A closed loop: wrk on core 1, with 500 different bodies in turn.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { folder } from './servers.ts'

export interface Measured {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** A script for wrk that ends with one line of figures. */
export function luaOf(name: string, make: (i: number) => object): string {
  const file = join(folder, `${name}.lua`)
  const bodies = Array.from({ length: 500 }, (_, i) => `'${JSON.stringify(make(i))}'`)
  const script = [
    `local bodies = {${bodies.join(',')}}`,
    'local n = 0',
    'request = function() n = n % 500 + 1; return wrk.format("POST", nil, {["Content-Type"]="application/json"}, bodies[n]) end',
    'done = function(s, l) local bad = s.errors.status + s.errors.read + s.errors.timeout',
    '  io.write(string.format("RESULT %f %f %f %d\\n", s.requests / s.duration * 1e6, l:percentile(50) / 1000, l:percentile(99) / 1000, bad)) end',
  ]
  writeFileSync(file, script.join('\n'))
  return file
}

/**
 * What another load left to be written to the disk is written before.
 * @throws Error where an answer was no 200
 */
export function wrk({ url, script }: { readonly url: string; readonly script: string }, seconds: number, connections: number): Measured {
  execFileSync('sync')
  const out = execFileSync('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url], {
    encoding: 'utf8',
  })
  const [, perSecond, p50, p99, bad] = /RESULT (\S+) (\S+) (\S+) (\d+)/.exec(out) ?? []
  if (bad !== '0') throw new Error(`${bad} answers of ${url} were not right:\n${out}`)
  return { perSecond: Number(perSecond), p50Ms: Number(p50), p99Ms: Number(p99) }
}
