// The provider's class by its own file, which the package's types do not mention.
declare module 'oidc-provider/lib/provider.js' {
  export { Provider } from 'oidc-provider';
}
