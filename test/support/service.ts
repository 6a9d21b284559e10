// A whole service in this process, on a free port, with a state folder of its own. Those of a test file share their toolchain, which takes
// longer to start than all the rest.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { listSegments } from '../../src/audit/log-files.ts'
import { type ConfigOverrides, loadConfig } from '../../src/config.ts'
import { type Service, startService } from '../../src/service.ts'
import { endsBeforeFolders, tempFolder } from './temp-folder.ts'
import { toolchain } from './toolchain.ts'

const running: Service[] = []

endsBeforeFolders(async () => {
  for (const service of running) await service.close()
})

export interface TestService {
  readonly service: Service
  readonly url: string
  readonly grpcAddress: string
  readonly state: string
  /** Lines that the service logged, parsed. */
  readonly logged: Record<string, unknown>[]
  /** Stops the service, so that all records are written. */
  stop(): Promise<Record<string, unknown>[]>
  decide(body: unknown, headers?: Record<string, string>): Promise<{ status: number; text: string; json: Answer; headers: Headers }>
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
type Answer = any

export const emptyDrain = { 'server.drainTimeoutMs': 0 }

/** @param policy contents of the bundle `main` by path, or the path of a folder or bundle */
export async function startTestService(
  policy: Readonly<Record<string, string>> | string | undefined,
  overrides: ConfigOverrides = {},
): Promise<TestService> {
  const state = (overrides.state as string | undefined) ?? tempFolder()
  const path = typeof policy === 'string' ? policy : policy === undefined ? undefined : tempFolder(policy)
  const config = loadConfig({
    env: {},
    overrides: {
      ...emptyDrain,
      'server.port': 0,
      'server.grpcPort': 0,
      bundles: path === undefined ? undefined : [{ name: 'main', path }],
      ...overrides,
      state,
    },
  })
  const logged: Record<string, unknown>[] = []
  const log = pino({ level: 'debug', base: null }, { write: (line: string) => void logged.push(JSON.parse(line)) })
  const service = await startService(config, log, toolchain)
  running.push(service)
  return {
    service,
    url: service.url,
    grpcAddress: service.grpcAddress,
    state,
    logged,
    async stop() {
      await service.close()
      return readRecords(join(state, 'decisions'))
    },
    async decide(body, headers = {}) {
      const response = await fetch(`${service.url}/v1/decide`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      })
      const text = await response.text()
      return { status: response.status, text, json: JSON.parse(text), headers: response.headers }
    },
  }
}

/** @returns what a service tells Prometheus */
export async function metricsOf({ url, state }: Pick<TestService, 'url' | 'state'>): Promise<string> {
  const authorization = `Bearer ${readFileSync(join(state, 'admin.token'), 'utf8').trim()}`
  return (await fetch(`${url}/metrics`, { headers: { authorization } })).text()
}

/** All records of a folder, in order. */
export function readRecords(folder: string): Record<string, unknown>[] {
  return listSegments(folder)
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').filter(Boolean))
    .map((line) => JSON.parse(line))
}

/** A question that the given policy answers. */
export const question = {
  subject: { type: 'user', id: 'alice' },
  action: { name: 'read' },
  resource: { type: 'document', id: 'roadmap' },
}
