// The end of a request whose other side says nothing any more.
import type { ClientRequest, IncomingMessage } from 'node:http';

/**
 * Ends a request that has no head of an answer so long after it was sent, or on whose connection nothing moves for so
 * long. A caller who reads or sends slowly has all the time.
 * @param silence milliseconds
 */
export function endSilent(outgoing: ClientRequest, silence: number): void {
  let incoming: IncomingMessage | undefined;
  let head: NodeJS.Timeout | undefined;
  const end = (): void => void (incoming ?? outgoing).destroy(new Error('the server has said nothing for too long'));
  const judge = (): void => {
    const ourTurn = incoming ? incoming.isPaused() : !outgoing.writableEnded && !outgoing.writableNeedDrain;
    if (ourTurn) outgoing.socket?.setTimeout(silence);
    else end();
  };
  outgoing.on('socket', (socket) => {
    socket.setTimeout(silence).on('timeout', judge);
    outgoing.on('close', () => socket.off('timeout', judge));
  });
  outgoing.on('finish', () => (head = incoming ? undefined : setTimeout(end, silence)));
  outgoing.on('response', (answer) => {
    incoming = answer;
    clearTimeout(head);
  });
  outgoing.on('close', () => clearTimeout(head));
}
