// The bounds of one evaluation.

export interface PolicyLimits {
  /** Steps of policy.wasm for one evaluation, 1 to 2,147,483,646. */
  readonly maxSteps: number
  /** Memory of one evaluation beside the policy's data, in bytes. */
  readonly maxMemoryBytes: number
}
