// verdict serve: runs the service until a signal ends it.
import { once } from 'node:events'
import type { Command } from 'commander'
import { pino } from 'pino'
import { loadConfig } from '../config.ts'
import { PdpError } from '../errors.ts'
import { type Service, startService } from '../service.ts'
import { limitRefusals } from '../telemetry/limited-refusals.ts'
import { paint, print } from './output.ts'

interface ServeOptions {
  config?: string
  bundle?: string[]
  host?: string
  port?: string
  grpcPort?: string
  state?: string
  watch?: boolean
}

export function serveCommand(program: Command): void {
  program
    .command('serve')
    .description('run the service')
    .option('--config <file>', 'configuration, YAML or JSON')
    .option('--bundle <[name=]path>', 'a bundle (.tar.gz), or a folder that is compiled; may be repeated', collect)
    .option('--host <host>', 'address to listen on (default 127.0.0.1)')
    .option('--port <port>', 'HTTP port (default 8181)')
    .option('--grpc-port <port>', 'gRPC port (default 9191)')
    .option('--state <folder>', 'folder of what the service keeps (default .verdict)')
    .option('--watch', 'compile folders again when they change')
    .addHelpText(
      'after',
      `
Examples:
  verdict serve --bundle policies --watch        compile a folder and follow its changes
  verdict serve --bundle main=b.tar.gz           serve a bundle
  verdict serve --config verdict.yaml            all else from a file; VERDICT_* variables override it

Without a bundle the last good ones of the state folder are served.`,
    )
    .action(async (options: ServeOptions) => {
      const config = loadConfig({
        file: options.config,
        overrides: {
          bundles: options.bundle?.map(parseBundle),
          'server.host': options.host,
          'server.port': parsePort(options.port, '--port'),
          'server.grpcPort': parsePort(options.grpcPort, '--grpc-port'),
          state: options.state,
          watch: options.watch,
        },
      })
      // Signals that come while bundles are compiled count too.
      const signal = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
      const limited = limitRefusals()
      const log = pino(
        {
          level: config.log.level,
          base: null,
          timestamp: pino.stdTimeFunctions.isoTime,
          hooks: {
            logMethod([facts, ...rest], method) {
              const written = limited(facts)
              if (written !== undefined) method.apply(this, [written, ...rest] as Parameters<typeof method>)
            },
          },
        },
        pino.destination({ fd: 2, sync: true }),
      )
      const service = await startService(config, log)
      greet(service, config.state)
      await signal
      log.info('stopping: finishing what has begun')
      process.once('SIGINT', () => process.exit(130))
      await service.close()
      log.info('stopped')
    })
}

function greet(service: Service, state: string): void {
  print(
    `${paint('bold', 'verdict')} ${service.info.version} (OPA ${service.info.opa_version}) answers at ${paint('cyan', service.url)} and gRPC at ${paint('cyan', service.grpcAddress)}`,
  )
  for (const bundle of service.info.bundles) {
    const label = bundle.revision === '' ? '' : ` revision ${bundle.revision},`
    print(`  bundle ${paint('bold', bundle.name)}:${label} epoch ${bundle.epoch}, ${bundle.digest.slice(0, 19)}…`)
    for (const path of bundle.entrypoints) print(`    ${path}${path === bundle.default_entrypoint ? paint('dim', ' (default)') : ''}`)
  }
  if (service.info.bundles.length === 0) print('  no bundle is active: not ready')
  print(`  records in ${state}/decisions, the admin token in ${state}/admin.token`)
  print('Try:')
  print(
    `  curl -s ${service.url}/v1/decide -H 'content-type: application/json' -d '{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"document","id":"roadmap"}}'`,
  )
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value]
}

function parseBundle(text: string): { name: string; path: string } {
  const equals = text.indexOf('=')
  return equals < 0 ? { name: 'main', path: text } : { name: text.slice(0, equals), path: text.slice(equals + 1) }
}

function parsePort(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text)) throw new PdpError('ERR_USAGE', `${option} must be a number from 0 to 65535, not \`${text}\``)
  return Number(text)
}
