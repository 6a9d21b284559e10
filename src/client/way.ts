// The way to one service: requests that bear the client's token and follow no redirect, since where it leads would get the token.

export interface WayOptions {
  /** Bearer token, or how to get one that holds now. */
  readonly token?: string | (() => string | Promise<string>)
  /** Default: the runtime's. */
  readonly fetch?: typeof globalThis.fetch
}

type Init = RequestInit & { readonly headers?: Readonly<Record<string, string>> }

export interface Way {
  readonly url: string
  fetch(path: string, init: Init): Promise<Response>
}

export function wayTo(url: string, options: WayOptions): Way {
  const base = url.replace(/\/+$/, '')
  return {
    url: base,
    async fetch(path, init) {
      const token = typeof options.token === 'function' ? await options.token() : options.token
      const headers = { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...init.headers }
      return (options.fetch ?? globalThis.fetch)(base + path, { ...init, headers, redirect: 'manual' })
    },
  }
}
