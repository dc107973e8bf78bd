// Two pages: the front door for strangers, the dashboard for members.
import { Controller, Get, Header, Query, Redirect, UseGuards } from '@nestjs/common';
import { CurrentSession, type OAuthSession, SessionGuard } from 'nest-oauth-client';
import { DemoSettings, demoProviders } from './demo-settings.js';
import { dashboardPage, frontPage } from './pages.js';
import { VisitorGuard } from './visitor.guard.js';

/** The pages. They load nothing from elsewhere. */
@Controller()
export class PagesController {
  constructor(private readonly settings: DemoSettings) {}

  /** Log-in buttons. Whoever is logged in already may go straight on. */
  @Get()
  @UseGuards(VisitorGuard)
  @Header('content-type', 'text/html; charset=utf-8')
  @Header('cache-control', 'no-store')
  front(@CurrentSession() session: OAuthSession | undefined, @Query() query: Record<string, unknown>): string {
    const providers = demoProviders(this.settings).map(({ definition: { name, displayName } }) => ({
      name,
      displayName: displayName ?? name,
    }));
    return frontPage({ providers, memberName: session && nameOf(session), loggedOut: 'logged-out' in query });
  }

  /** For members. A stranger who opens it is sent to log in, and comes back here. */
  @Get('dashboard')
  @UseGuards(SessionGuard)
  @Header('content-type', 'text/html; charset=utf-8')
  @Header('cache-control', 'no-store')
  dashboard(@CurrentSession() session: OAuthSession): string {
    return dashboardPage(session, nameOf(session));
  }

  /** Browsers ask for it on their own. */
  @Get('favicon.ico')
  @Redirect('/files/mark.svg', 301)
  icon(): void {}
}

function nameOf({ user }: OAuthSession): string {
  return user.profile.name ?? user.profile.username ?? user.id;
}
