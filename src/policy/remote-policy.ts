// The port through which the engine asks a policy that is evaluated elsewhere, because it waits for the network.
import type { TraceIds } from '../decision/request.ts'
import type { Evaluation } from './policy-instance.ts'

export interface RemotePolicy {
  /**
   * @param entrypoint path, as in the bundle
   * @param input JSON text; undefined: no input
   * @param trace that requests of the policy belong to
   * @throws PdpError as PolicyInstance.evaluate does, with `steps`; ERR_OVERLOADED when too many wait
   */
  evaluate(entrypoint: string, input: string | undefined, timeMs: number, trace?: TraceIds): Promise<Evaluation>
  /** Lets go of what the policy takes; evaluations under way are answered. */
  close(): void
}

/** Functions whose policies are evaluated elsewhere. */
export const networkFunctions: ReadonlySet<string> = new Set(['http.send', 'net.lookup_ip_addr'])
