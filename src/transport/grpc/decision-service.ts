// verdict.v1.DecisionService: parse, ask the core, write the answer. @see schemas/verdict/v1/decision.proto
import type { handleBidiStreamingCall, ServerDuplexStream } from '@grpc/grpc-js'
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import { toPdpError } from '../../errors.ts'
import type { Admission } from '../admission.ts'
import { decideEach, decideOne, type RequestFacts } from '../decide.ts'
import type { DecideLimits } from '../decide-request.ts'
import { type Call, callOf, requestIdMetadata, toServiceError, type UnaryAnswer, type UnaryMethod } from './call.ts'
import { type CallLog, isCallError, toCallStatus } from './call-status.ts'
import { readDecideBatchRequest, readDecideRequest, writeDecideResponse } from './decision-messages.ts'
import { correlationOf, factsOf, whenKnown } from './peer.ts'

export interface DecisionServiceOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly decideScope: Admission | undefined
  readonly log: CallLog
}

export const decisionServiceName = 'verdict.v1.DecisionService'

export interface DecisionService {
  readonly Decide: UnaryMethod
  readonly DecideBatch: handleBidiStreamingCall<Buffer, Uint8Array>
}

export function createDecisionService({ decider, limits, decideScope, log }: DecisionServiceOptions): DecisionService {
  const door = 'grpc'
  return { Decide, DecideBatch }

  function Decide(message: Buffer, call: Call): UnaryAnswer | Promise<UnaryAnswer> {
    const requestId = correlationOf(call)
    const done = (decision: RecordedDecision): UnaryAnswer => {
      const error = isCallError(decision)
      return error === undefined ? { requestId, message: writeDecideResponse(decision), maxAgeMs: decision.maxAgeMs } : fail(error)
    }
    const fail = (thrown: unknown): UnaryAnswer => ({ status: toCallStatus(toPdpError(thrown), requestId, call.path, log) })
    try {
      const facts = factsOf(call, requestId, door, decideScope)
      const decision = whenKnown(facts, (known) => decideOne(readDecideRequest(message, limits), known, decider))
      return decision instanceof Promise ? decision.then(done).catch(fail) : done(decision)
    } catch (thrown) {
      return fail(thrown)
    }
  }

  function DecideBatch(stream: ServerDuplexStream<Buffer, Uint8Array>): void {
    const call = callOf(stream)
    const id = correlationOf(call)
    answerAll(stream, call, id).then(
      () => stream.end(),
      (thrown: unknown) => stream.emit('error', toServiceError(toCallStatus(toPdpError(thrown), id, call.path, log))),
    )
  }

  /** One batch after another: a client that does not read its answers is not read from. */
  async function answerAll(stream: ServerDuplexStream<Buffer, Uint8Array>, call: Call, id: string): Promise<void> {
    stream.sendMetadata(requestIdMetadata(id))
    const facts: RequestFacts = await factsOf(call, id, door, decideScope)
    // An error that ends the loop still has to be told to the client.
    for await (const message of stream.iterator({ destroyOnReturn: false })) {
      if (stream.cancelled) return
      if (!stream.write(await answerBatch(message as Buffer, facts, decider, limits))) await drained(stream)
    }
  }
}

/**
 * From a DecideBatchRequest to its DecideBatchResponse.
 * @throws PdpError as readDecideBatchRequest and decideEach
 */
export async function answerBatch(
  message: Buffer,
  facts: RequestFacts,
  decider: RecordedDecider,
  limits: DecideLimits,
): Promise<Uint8Array> {
  const answers: Uint8Array[] = []
  await decideEach(readDecideBatchRequest(message, limits), facts, decider, (decision) => answers.push(writeDecideResponse(decision)))
  return Buffer.concat(answers)
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
