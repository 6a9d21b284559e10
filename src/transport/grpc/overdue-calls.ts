// Ends calls of one message whose message does not come, whatever deadline the client asked for.
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js'
import { PdpError } from '../../errors.ts'

/** A call whose message has not come yet. */
export interface WaitingCall {
  end(error: PdpError): void
}

export class OverdueCalls {
  /** Calls in the order in which they came, with the time when they did. */
  readonly #waiting = new Map<WaitingCall, number>()
  readonly #timer: NodeJS.Timeout

  /** @param timeoutMs longest time for a message to arrive */
  constructor(timeoutMs: number) {
    this.#timer = setInterval(() => this.#end(performance.now() - timeoutMs), Math.min(timeoutMs, 1_000)).unref()
  }

  add(call: WaitingCall): void {
    this.#waiting.set(call, performance.now())
  }

  /** The message is there, or the call is over. */
  delete(call: WaitingCall): void {
    this.#waiting.delete(call)
  }

  /** @param toStatus how calls of the library end */
  interceptor(toStatus: (error: PdpError, path: string) => Parameters<ServerInterceptingCall['sendStatus']>[0]): ServerInterceptor {
    return (method, call) => {
      if (method.requestStream) return new ServerInterceptingCall(call)
      const waiting: WaitingCall = { end: (error) => watched.sendStatus(toStatus(error, method.path)) }
      const watched = new ServerInterceptingCall(call, {
        start: (next) => {
          this.add(waiting)
          next({
            onReceiveHalfClose: (forward) => {
              this.delete(waiting)
              forward()
            },
            onCancel: () => this.delete(waiting),
          })
        },
      })
      return watched
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #end(before: number): void {
    for (const [call, since] of this.#waiting) {
      if (since > before) return
      this.#waiting.delete(call)
      call.end(new PdpError('ERR_REQUEST_TIMEOUT', 'the message took too long to arrive'))
    }
  }
}
