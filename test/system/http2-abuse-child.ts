// A service in a process of its own, for http2-abuse.test.ts: http2-abuse-child.ts BUNDLE STATE. Says where it answers, and with each
// message what memory is in use after a collection of garbage, in bytes.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { pino } from 'pino'
import { loadConfig } from '../../src/config.ts'
import { startService } from '../../src/service.ts'

const [path, state] = process.argv.slice(2) as [string, string]
const config = loadConfig({ env: {}, overrides: { bundles: [{ name: 'main', path }], state, 'server.port': 0, 'server.grpcPort': 0 } })
const service = await startService(config, pino({ level: 'silent' }))
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
process.on('message', () => {
  collect()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  process.send?.({ usedBytes: heapUsed + external + arrayBuffers })
})
process.send?.({ address: service.grpcAddress })
