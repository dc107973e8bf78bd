import { readCookie } from '../../../src/sessions/cookies.js';

const VALUE = `${'a'.repeat(42)}A`;
const OTHER = `${'b'.repeat(42)}A`;

describe('reading a cookie', () => {
  it.each([
    ['alone', `oauth_session=${VALUE}`],
    ['among others', `a=1; oauth_session=${VALUE}; b=2`],
    ['among names without a value', `a; b;; oauth_session=${VALUE}; c`],
    ['after a value with "="', `a=b=c; oauth_session=${VALUE}`],
    ['with white space around it', `a=1;\t oauth_session = ${VALUE} ;b=2`],
    ['beside its namesake of https', `oauth_session=${VALUE}; __Host-oauth_session=${OTHER}`],
  ])('finds it %s', (_, header) => {
    expect(readCookie(header, 'session', false)).toEqual({ value: VALUE, present: true });
  });

  it.each([
    ['twice', `oauth_session=${VALUE}; oauth_session=${OTHER}`],
    ['twice the same', `oauth_session=${VALUE};oauth_session=${VALUE}`],
    ['with "=" at its end', `oauth_session=${VALUE}=`],
    ['empty', `oauth_session=`],
    ['quoted', `oauth_session="${VALUE}"`],
    ['with a no-break space after the value', `oauth_session=${VALUE}\u00a0`],
  ])('takes it for none, but present, when it comes %s', (_, header) => {
    expect(readCookie(header, 'session', false)).toEqual({ value: null, present: true });
  });

  it.each([
    ['no header', undefined],
    ['no pair at all', 'a;b;c'],
    ['another case', `OAuth_session=${VALUE}`],
    ['a longer name', `x_oauth_session=${VALUE}; oauth_session2=${VALUE}`],
    ['the name in a value', `a=oauth_session=${VALUE}`],
    ['a name without a value', 'oauth_session'],
    ['a no-break space before the name, which goes round the prefix in a browser', `\u00a0oauth_session=${VALUE}`],
    ['a no-break space after the name', `oauth_session\u00a0=${VALUE}`],
  ])('finds none in %s', (_, header) => {
    expect(readCookie(header, 'session', false)).toEqual({ value: null, present: false });
  });
});
