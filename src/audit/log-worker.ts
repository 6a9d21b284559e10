// The thread that writes the decision log: hashing, writing and syncing do not hold up who decides.
// Messages out: {opened} or {failed} once, then {id} or {id, failure} for each message in, with the chunks of a write; {checkpoint} or
// {checkpointFailure} as they come.
import { parentPort, workerData } from 'node:worker_threads'
import { toPdpError } from '../errors.ts'
import type { Recovered } from './log-recovery.ts'
import { LogWriter, type LogWriterOptions } from './log-writer.ts'
import type { Expired, RetentionRule } from './retention.ts'
import { noteSigner } from './tree/note.ts'

export interface LogWorkerData extends Omit<LogWriterOptions, 'signers'> {
  readonly origin: string
  /** Private keys in PEM. */
  readonly keys: readonly string[]
  /** Milliseconds. */
  readonly checkpointIntervalMs: number
}

export type LogCommand =
  | { readonly id: number; readonly op: 'write'; readonly chunks: readonly Uint8Array<ArrayBuffer>[] }
  /** All that was written is synced and signed for. */
  | { readonly id: number; readonly op: 'settle' | 'close' }
  | { readonly id: number; readonly op: 'expired'; readonly rule: RetentionRule }
  | { readonly id: number; readonly op: 'remove'; readonly before: string }

export type LogReply =
  | { readonly opened: { readonly lastSeq: number; readonly recovered: Recovered | undefined } }
  | { readonly failed: { readonly code: string; readonly message: string } }
  | {
      readonly id: number
      readonly chunks?: readonly Uint8Array<ArrayBuffer>[]
      readonly failure?: string
      readonly expired?: Expired | undefined
    }
  | { readonly checkpoint: string; readonly size: number }
  | { readonly checkpointFailure: string }

const port = parentPort
if (port === null) throw new TypeError('log-worker.ts runs in a worker thread')

const send = (reply: LogReply, transfer: readonly ArrayBuffer[] = []) => port.postMessage(reply, [...transfer])
const { origin, keys, checkpointIntervalMs, ...options } = workerData as LogWorkerData
const writer = open()
if (writer !== undefined) {
  let timer: NodeJS.Timeout | undefined
  port.on('message', (command: LogCommand) => {
    if (command.op === 'write') write(writer, command)
    else if (command.op === 'expired') answer(command.id, () => ({ expired: writer.findExpired(command.rule) }))
    else if (command.op === 'remove') remove(writer, command)
    else settle(writer, command)
    timer ??= setTimeout(() => {
      timer = undefined
      publish(writer)
    }, checkpointIntervalMs)
    if (command.op === 'close') clearTimeout(timer)
  })
}

function open(): LogWriter | undefined {
  try {
    const opened = new LogWriter({ ...options, signers: keys.map((key) => noteSigner(origin, key)) })
    send({ opened: { lastSeq: opened.lastSeq, recovered: opened.recovered } })
    return opened
  } catch (thrown) {
    const { code, message, cause } = toPdpError(thrown)
    send({ failed: { code, message: code === 'ERR_INTERNAL' ? ((cause as Error | undefined)?.message ?? message) : message } })
    return undefined
  }
}

function write(log: LogWriter, { id, chunks }: LogCommand & { readonly op: 'write' }): void {
  const transfer = chunks.map(({ buffer }) => buffer)
  try {
    log.write(chunks.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)))
    send({ id, chunks }, transfer)
  } catch (error) {
    send({ id, chunks, failure: (error as Error).message }, transfer)
  }
}

function settle(log: LogWriter, { id, op }: LogCommand): void {
  answer(id, () => {
    signAll(log)
    if (op === 'close') log.close()
    return {}
  })
}

function remove(log: LogWriter, { id, before }: LogCommand & { readonly op: 'remove' }): void {
  answer(id, () => {
    // With what says so.
    signAll(log)
    return { removed: log.removeBefore(before) }
  })
}

function signAll(log: LogWriter): void {
  const note = log.checkpoint()
  if (note !== undefined) send({ checkpoint: note, size: log.size })
}

function answer(id: number, act: () => { readonly expired?: Expired | undefined; readonly removed?: number }): void {
  try {
    send({ id, ...act() })
  } catch (error) {
    send({ id, failure: (error as Error).message })
  }
}

function publish(log: LogWriter): void {
  try {
    signAll(log)
  } catch (error) {
    send({ checkpointFailure: (error as Error).message })
  }
}
