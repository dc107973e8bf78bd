// The style sheet, the script and the icon: three files, served as they are.
import { readFileSync } from 'node:fs';
import { Controller, Get, Header, NotFoundException, Param, Res } from '@nestjs/common';

const TYPES: Readonly<Record<string, string>> = {
  'demo.css': 'text/css; charset=utf-8',
  'dashboard.js': 'text/javascript; charset=utf-8',
  'mark.svg': 'image/svg+xml',
};
const files = new Map(
  Object.keys(TYPES).map((name) => [name, readFileSync(new URL(`./public/${name}`, import.meta.url), 'utf8')]),
);

/** Static files of the demo. */
@Controller('files')
export class FilesController {
  @Get(':name')
  @Header('cache-control', 'no-cache')
  file(@Param('name') name: string, @Res({ passthrough: true }) response: { type(type: string): unknown }): string {
    const text = files.get(name);
    if (text === undefined) throw new NotFoundException();
    response.type(TYPES[name]!);
    return text;
  }
}
