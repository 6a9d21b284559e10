// verdict.v1.DecisionService: parse, ask the core, write the answer. @see schemas/verdict/v1/decision.proto
import {
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import { type PdpError, toPdpError } from '../../errors.ts'
import type { TokenVerifier } from '../bearer.ts'
import { decideBatch, decideOne, type RequestFacts } from '../decide.ts'
import type { DecideLimits } from '../decide-request.ts'
import { readDecideBatchRequest, readDecideRequest, writeDecideResponse, writeDecisions } from './decision-messages.ts'
import { correlationOf, factsOf } from './peer.ts'
import { type CallLog, isCallError, toServiceError } from './service-error.ts'

export interface DecisionServiceOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly verifyDecide: TokenVerifier | undefined
  readonly log: CallLog
}

export const decisionServiceName = 'verdict.v1.DecisionService'

export function createDecisionService({ decider, limits, verifyDecide, log }: DecisionServiceOptions): UntypedServiceImplementation {
  const door = 'grpc'
  return { Decide, DecideBatch }

  function Decide(call: ServerUnaryCall<Buffer, Uint8Array>, answer: sendUnaryData<Uint8Array>): void {
    const id = correlationOf(call)
    const done = (decision: RecordedDecision) => {
      const error = isCallError(decision)
      if (error !== undefined) fail(error)
      else answer(null, writeDecideResponse(decision))
    }
    const fail = (thrown: unknown) => answer(toServiceError(toPdpError(thrown), id, call.getPath(), log))
    try {
      call.sendMetadata(requestId(id))
      const facts = factsOf(call, id, door, verifyDecide)
      const decision = decideOne(readDecideRequest(call.request, limits), facts, decider)
      if (decision instanceof Promise) decision.then(done, fail)
      else done(decision)
    } catch (thrown) {
      fail(thrown)
    }
  }

  function DecideBatch(call: ServerDuplexStream<Buffer, Uint8Array>): void {
    const id = correlationOf(call)
    answerAll(call, id).then(
      () => call.end(),
      (thrown: unknown) => call.emit('error', toServiceError(toPdpError(thrown), id, call.getPath(), log)),
    )
  }

  /** One batch after another: a client that does not read its answers is not read from. */
  async function answerAll(call: ServerDuplexStream<Buffer, Uint8Array>, id: string): Promise<void> {
    call.sendMetadata(requestId(id))
    const facts: RequestFacts = factsOf(call, id, door, verifyDecide)
    // An error that ends the loop still has to be told to the client.
    for await (const message of call.iterator({ destroyOnReturn: false })) {
      if (call.cancelled) return
      const decisions = await decideBatch(readDecideBatchRequest(message as Buffer, limits), facts, decider)
      for (const decision of decisions) {
        const error = isCallError(decision)
        if (error !== undefined && isUnanswerable(error)) throw error
      }
      if (!call.write(writeDecisions(decisions))) await drained(call)
    }
  }
}

/** In a batch, only what no item could be answered for ends the call; a bad item has its own answer. */
function isUnanswerable({ code }: PdpError): boolean {
  return unanswerable.has(code)
}

const unanswerable: ReadonlySet<string> = new Set([
  'ERR_NO_BUNDLE',
  'ERR_LOG_UNAVAILABLE',
  'ERR_OVERLOADED',
  'ERR_DRAINING',
  'ERR_INTERNAL',
])

function requestId(id: string): Metadata {
  const metadata = new Metadata()
  metadata.set('x-request-id', id)
  return metadata
}

function drained(call: ServerDuplexStream<Buffer, Uint8Array>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off('drain', done).off('close', done).off('cancelled', done)
      resolve()
    }
    call.on('drain', done).on('close', done).on('cancelled', done)
  })
}
