// Who is at the other end of an HTTP/2 session, for calls on either way. The library's way does not tell its calls from which
// connection they come, so they carry a field of ours, which replaces whatever a client sent under its name.
import type { Http2Session, IncomingHttpHeaders } from 'node:http2'
import type { Caller } from '../../decision/request.ts'
import { type Connection, connectionOf, peerOfConnection } from '../secure-connections.ts'

/** Metadata field with the number of the session. */
export const sessionField = 'verdict-session'

interface SessionPeer {
  readonly number: number
  /** By certificate. */
  readonly connection: Connection | undefined
  /** By address alone. */
  readonly anonymous: Caller
}

const nobody: Caller = { authenticated: false }
const bySession = new WeakMap<Http2Session, SessionPeer>()
const byNumber = new Map<string, SessionPeer>()
let sessions = 0

/** One object for each session, as long as its identity holds. */
export function peerOfSession(session: Http2Session | undefined): Caller {
  return session === undefined ? nobody : callerOf(entryOf(session))
}

/** The same, of a call that was marked. */
export function peerOfMark(mark: string | undefined): Caller {
  const entry = byNumber.get(mark ?? '')
  return entry === undefined ? nobody : callerOf(entry)
}

/** Marks a call by its session. */
export function mark(headers: IncomingHttpHeaders, session: Http2Session | undefined): void {
  if (session === undefined) delete headers[sessionField]
  else headers[sessionField] = String(entryOf(session).number)
}

function callerOf({ connection, anonymous }: SessionPeer): Caller {
  return (connection && peerOfConnection(connection)) ?? anonymous
}

/** The socket of a session stands behind a proxy, which takes its time. */
function entryOf(session: Http2Session): SessionPeer {
  let entry = bySession.get(session)
  if (entry === undefined) {
    const { socket } = session
    sessions++
    entry = { number: sessions, connection: connectionOf(socket), anonymous: { authenticated: false, address: socket.remoteAddress } }
    bySession.set(session, entry)
    const key = String(sessions)
    byNumber.set(key, entry)
    session.on('close', () => byNumber.delete(key))
  }
  return entry
}
