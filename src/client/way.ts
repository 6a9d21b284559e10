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

/** @throws RangeError for a body that does not end where it should */
export async function readText(response: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.byteLength
    if (bytes > maxBytes) throw new RangeError('what came is too long for an answer')
    text += decoder.decode(part, { stream: true })
  }
  return text + decoder.decode()
}
