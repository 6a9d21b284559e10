// The gRPC server: its services, its bounds, health and reflection. What it listens on is in listener.ts.
//
// INVARIANT: no call lives without a bound: calls that bring one message must bring it within `requestTimeoutMs`, whatever
// deadline the client asked for, and connections hold at most `maxConcurrentStreams` calls.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Server, type ServiceDefinition, status } from '@grpc/grpc-js'
import { loadSync, type PackageDefinition } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'
import { HealthImplementation } from 'grpc-health-check'
import protobuf from 'protobufjs/minimal.js'
import type { RecordedDecider } from '../../decision/decider.ts'
import { PdpError } from '../../errors.ts'
import type { Admission } from '../admission.ts'
import type { ChangeOptions } from '../change-stream.ts'
import type { DecideLimits } from '../decide-request.ts'
import type { GatewayOptions } from '../gateway/gateway-options.ts'
import type { TlsSettings } from '../secure-connections.ts'
import { authorizationServiceName, createAuthorizationService } from './authorization-service.ts'
import { toHandler, toServiceError } from './call.ts'
import { type CallLog, type CallNews, toCallStatus } from './call-status.ts'
import { createDecisionService, decisionServiceName } from './decision-service.ts'
import { answerCallsDirectly } from './direct-calls.ts'
import { type Listener, listenOn } from './listener.ts'
import { OverdueCalls } from './overdue-calls.ts'
import { createWatch } from './watch.ts'

export interface GrpcServerOptions extends ChangeOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  /** Largest message, before and after decompression. Bytes. */
  readonly maxBodyBytes: number
  /** Longest time for the message of a call to arrive. Milliseconds. */
  readonly requestTimeoutMs: number
  /** Undefined: anybody may ask, which only a loopback address may offer. */
  readonly decideScope: Admission | undefined
  /** Undefined: clear text. */
  readonly tls: TlsSettings | undefined
  readonly gateways: GatewayOptions
  readonly notReady: () => readonly string[]
  readonly log: CallLog
  /** Told of each call of one message: `package.Service/Method` or `other`, the name of its status, and how long it took. Milliseconds. */
  readonly onAnswered: (method: string, status: string, ms: number) => void
}

export interface GrpcServer {
  /** @returns the port; @throws PdpError ERR_LISTEN */
  listen(host: string, port: number): Promise<number>
  /** Health says from now on that nothing is served. */
  startDraining(): void
  /** Lets running calls end for so long, then ends them. */
  close(timeoutMs: number): Promise<void>
}

const maxConcurrentStreams = 1_000
/** How often health is asked for. Milliseconds. */
const healthIntervalMs = 500

const protoFolder = join(import.meta.dirname, '../../../schemas')

export function createGrpcServer(options: GrpcServerOptions): GrpcServer {
  const overdue = new OverdueCalls(options.requestTimeoutMs)
  const server = new Server({
    'grpc.max_receive_message_length': options.maxBodyBytes,
    'grpc.max_concurrent_streams': maxConcurrentStreams,
    'grpc.max_metadata_size': 16_384,
    'grpc-node.max_session_memory': 16,
    'grpc.enable_channelz': 0,
    interceptors: [overdue.interceptor((error, path) => toServiceError(toCallStatus(error, '', path, options.log)))],
  })
  const definitions = loadSync(['verdict/v1/decision.proto', 'envoy/service/auth/v3/external_auth.proto'], { includeDirs: [protoFolder] })
  const { Decide, DecideBatch } = createDecisionService(options)
  const watches = createWatch(options)
  const news: CallNews = {
    log: options.log,
    onAnswered: (path, code, ms) => options.onAnswered(methods.has(path) ? path.slice(1) : 'other', status[code], ms),
  }
  const { Check } = createAuthorizationService(options)
  server.addService(rawService(definitions[decisionServiceName] as ServiceDefinition), {
    Decide: toHandler(Decide, news.onAnswered),
    DecideBatch,
    Watch: watches.Watch,
  })
  server.addService(rawService(definitions[authorizationServiceName] as ServiceDefinition), { Check: toHandler(Check, news.onAnswered) })
  const methods = new Map([
    [`/${decisionServiceName}/Decide`, Decide],
    [`/${authorizationServiceName}/Check`, Check],
  ])
  const health = new HealthImplementation()
  health.addToServer(server)
  new ReflectionService(reflected()).addToServer(server)

  let listener: Listener | undefined
  let draining = false
  const setHealth = () => {
    const serving = !draining && options.notReady().length === 0 ? 'SERVING' : 'NOT_SERVING'
    for (const name of ['', decisionServiceName, authorizationServiceName]) health.setStatus(name, serving)
  }
  setHealth()
  const timer = setInterval(setHealth, healthIntervalMs).unref()

  return {
    async listen(host, port) {
      const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
      try {
        listener = await listenOn(server, host, port, options.tls)
        answerCallsDirectly(server, { ...options, ...news, methods, overdue, maxMessageBytes: options.maxBodyBytes })
        return listener.port
      } catch (cause) {
        const { message } = cause as Error
        const reason = message.includes('EADDRINUSE')
          ? 'another program listens there: stop it, or choose another with --grpc-port'
          : message
        throw new PdpError('ERR_LISTEN', `cannot listen for gRPC on ${address}: ${reason}`, { cause })
      }
    },
    startDraining() {
      draining = true
      setHealth()
      watches.end()
    },
    async close(timeoutMs) {
      clearInterval(timer)
      overdue.close()
      listener?.close()
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => {
          server.forceShutdown()
          resolve()
        }, timeoutMs)
        server.tryShutdown(() => {
          clearTimeout(force)
          resolve()
        })
      })
    },
  }
}

/**
 * What reflection tells: the descriptors that buf made of the .proto files. Those that the loader makes name types relative to
 * each other, which strict clients (grpcurl) do not resolve.
 */
function reflected(): PackageDefinition {
  const reader = protobuf.Reader.create(readFileSync(join(protoFolder, 'descriptors.binpb')))
  const files: Buffer[] = []
  // A FileDescriptorSet has one field, its files.
  while (reader.pos < reader.len) {
    reader.uint32()
    files.push(Buffer.from(reader.bytes()))
  }
  return {
    files: { format: 'Protocol Buffer 3 DescriptorProto', type: {}, fileDescriptorProtos: files } as unknown as PackageDefinition[string],
  }
}

/** The service with its messages as bytes: they are read and written by our own functions. */
function rawService(definition: ServiceDefinition): ServiceDefinition {
  const bytes = (message: Buffer) => message
  return Object.fromEntries(
    Object.entries(definition).map(([name, method]) => [
      name,
      {
        ...method,
        requestDeserialize: bytes,
        responseSerialize: (message: Uint8Array) => Buffer.from(message.buffer, message.byteOffset, message.byteLength),
      },
    ]),
  )
}
