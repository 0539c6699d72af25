import { data } from "$lib/api/client";
import { api, events, session } from "$ui/app.svelte";

/** Find out who the server takes this browser for, with the token in the address if it has one. */
export async function openSession(): Promise<void> {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(history.state, "", location.pathname + location.search);
    try {
      await signIn(token);
      return;
    } catch {
      // Perhaps there is a session already; else the page asks for a token.
    }
  }
  await enter();
}

/** Exchange a token for a session. Raises ApiError. */
export async function signIn(token: string): Promise<void> {
  await api.POST("/api/v1/session", { body: { token } });
  await enter();
}

async function enter(): Promise<void> {
  const view = await data(api.GET("/api/v1/session"));
  session.name = view.name;
  session.scopes = view.scopes;
  if (session.can("read")) events.connect();
}
