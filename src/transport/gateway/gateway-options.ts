// What is configured for the doors of gateways.

export interface GatewayOptions {
  /** The policy that is asked, by the names of a request to the core. */
  readonly policy: () => { readonly bundle?: string | undefined; readonly entrypoint?: string | undefined }
  /** Whether policies are asked about requests whose body the gateway cut. */
  readonly passTruncated: boolean
  /** Whether a peer's X-Forwarded-… and X-Original-… fields are believed. */
  readonly isTrustedProxy: (address: string | undefined) => boolean
  /** Whether tokens of subjects can be verified: then policies are not asked about requests with one that is not good. */
  readonly verifiesTokens: boolean
  /** Cache-Control of answers over HTTP. */
  readonly cacheControl: string
}
