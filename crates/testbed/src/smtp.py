"""Takes every mail into a folder; words: directory, port, tls, user, password."""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

directory, port, tls, user, password = sys.argv[1:]


class Spool:
    def __init__(self):
        self.count = 0
        self.greylisted = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user here"
        if address.startswith("grey@") and address not in self.greylisted:
            self.greylisted.add(address)
            return "451 4.7.1 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        path = os.path.join(directory, "spool", f"{self.count:06}")
        with open(path, "wb") as file:
            file.write(f"X-Recipients: {', '.join(envelope.rcpt_tos)}\r\n".encode())
            file.write(envelope.original_content)
        os.rename(path, path + ".eml")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = LoginPassword(user.encode(), password.encode())
    return AuthResult(success=data == good, handled=False)


async def main():
    context = None
    if tls != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
    spool = Spool()

    def protocol():
        return SMTP(
            spool,
            hostname="localhost",
            tls_context=context if tls == "starttls" else None,
            require_starttls=tls == "starttls",
            authenticator=authenticate,
            auth_required=tls != "none",
            auth_require_tls=tls == "starttls",
        )

    implicit = context if tls == "tls" else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", int(port), ssl=implicit)
    await server.serve_forever()


asyncio.run(main())
